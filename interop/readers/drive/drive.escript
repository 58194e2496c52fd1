%% Drives a reader of Erlang: drive.escript PROGRAM APPLICATION. readers_test.go has the protocol.
main([Program, Application]) ->
    {ok, _} = application:ensure_all_started(jose),
    {ok, _} = application:ensure_all_started(inets),
    {ok, _} = application:ensure_all_started(ssl),
    %% OTP looks at no variable of the environment.
    ok = public_key:cacerts_load(os:getenv("SSL_CERT_FILE")),
    {ok, Module, Code} = compile:file(Program, [binary, report]),
    {module, Module} = code:load_binary(Module, Program, Code),
    {ok, Version} = application:get_key(list_to_atom(Application), vsn),
    io:format("ready ~s~n", [Version]),
    loop(Module).

loop(Module) ->
    case io:get_line("") of
        eof -> ok;
        Line ->
            try maps:get(<<"sub">>, Module:verify(list_to_binary(string:trim(Line)))) of
                Subject -> io:format("ok ~s~n", [Subject])
            catch _:Reason -> io:format("refused ~s~n", [io_lib:format("~0p", [Reason])])
            end,
            loop(Module)
    end.
