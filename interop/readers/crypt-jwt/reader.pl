use strict;
use warnings;
use Crypt::JWT qw(decode_jwt);
use HTTP::Tiny;
use JSON::PP qw(decode_json);

my ($keys, $fetched) = (undef, 0);

sub fetch_keys {
    my $answer = HTTP::Tiny->new(timeout => 5, verify_SSL => 1)->get("https://keys.example.com/t/acme/.well-known/jwks.json");
    die "JWKS: $answer->{status} $answer->{content}" unless $answer->{success};
    ($keys, $fetched) = (decode_json($answer->{content}), time);
}

sub decode {
    return decode_jwt(
        token        => shift,
        kid_keys     => $keys,
        accepted_alg => ["ES256"],
        verify_iss   => sub { shift eq "https://keys.example.com/t/acme" },
        verify_aud   => sub { shift eq "https://api.example.com" },
        verify_exp   => 1,
    );
}

sub verify {
    my ($token) = @_;
    fetch_keys() if !$keys || time - $fetched > 300;
    my $claims = eval { decode($token) };
    return $claims if $claims;
    die $@ unless $@ =~ /kid_keys/;    # the set has no key with this kid
    fetch_keys();
    return decode($token);
}

1;
