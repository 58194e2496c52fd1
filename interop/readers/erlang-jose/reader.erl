-module(reader).
-export([verify/1]).

verify(Token) ->
    #{<<"kid">> := KID} = json(jose_jws:peek_protected(Token)),
    Algorithms = [list_to_binary(Name) || Name <- ["ES256"]],
    {true, {jose_jwt, Claims}, _} = jose_jwt:verify_strict(find_key(KID), Algorithms, Token),
    %% The library checks the signature alone.
    #{<<"iss">> := <<"https://keys.example.com/t/acme">>, <<"aud">> := Audience, <<"exp">> := Expiry} = Claims,
    true = lists:member(<<"https://api.example.com">>, lists:flatten([Audience])),
    true = Expiry > erlang:system_time(second),
    Claims.

find_key(KID) ->
    case persistent_term:get(?MODULE, none) of
        {Fetched, #{KID := Key}} ->
            case erlang:monotonic_time(second) - Fetched < 300 of
                true -> jose_jwk:from_map(Key);
                false -> jose_jwk:from_map(maps:get(KID, fetch()))
            end;
        _ -> jose_jwk:from_map(maps:get(KID, fetch()))
    end.

fetch() ->
    URL = "https://keys.example.com/t/acme/.well-known/jwks.json",
    Name = maps:get(host, uri_string:parse(URL)),
    TLS = [{verify, verify_peer}, {cacerts, public_key:cacerts_get()}, {server_name_indication, Name},
           {customize_hostname_check, [{match_fun, public_key:pkix_verify_hostname_match_fun(https)}]}],
    {ok, {{_, 200, _}, _, Body}} = httpc:request(get, {URL, []}, [{timeout, 5000}, {ssl, TLS}], [{body_format, binary}]),
    Keys = maps:from_list([{maps:get(<<"kid">>, Key), Key} || Key <- maps:get(<<"keys">>, json(Body))]),
    persistent_term:put(?MODULE, {erlang:monotonic_time(second), Keys}),
    Keys.

json(Text) -> jose:decode(Text).
