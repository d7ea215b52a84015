# Cache::Memcached and Cache::Memcached::Fast, on one endpoint and sharding over three. See support.py.
use strict;
use warnings;
use Test::More;
use Cache::Memcached;
use Cache::Memcached::Fast;

my @servers = map { "127.0.0.1:$_" } split / /, $ENV{CLIENTS_PORTS};
my $number = 0;
sub key { return "perl-$$-" . $number++ }

# Bytes of every kind, line ends and protocol words among them.
sub value {
    my ($size) = @_;
    my $bytes = "\r\nEND\r\nVALUE x 0 1\r\n" . join('', map { chr($_ % 256) } 0 .. 255);
    return substr($bytes x (1 + $size / length $bytes), 0, $size);
}

sub common {
    my ($name, $client) = @_;
    for my $size (0, 1, 100, 1023, 2048, 8191, 65536, 1000000) {
        my $k = key();
        ok($client->set($k, value($size), 100), "$name stores $size bytes");
        ok(($client->get($k) // 'undefined') eq value($size), "$name returns $size bytes");
    }

    my $k = key();
    ok(!$client->replace($k, '0', 100), "$name replace of nothing");
    ok($client->add($k, '1', 100), "$name add");
    ok(!$client->add($k, '2', 100), "$name add of something");
    ok($client->replace($k, '3', 100), "$name replace");
    ok($client->append($k, '4'), "$name append");
    ok($client->prepend($k, '2'), "$name prepend");
    is($client->get($k), '234', "$name get");
    is($client->incr($k, 6), 240, "$name incr");
    cmp_ok($client->decr($k, 500), '==', 0, "$name decr"); # one of them answers 0 as "0E0"
    ok($client->delete($k), "$name delete");
    ok(!$client->delete($k), "$name delete of nothing");
    is($client->get($k), undef, "$name get of nothing");

    $client->set($k, { list => [1, 2, 3] }, 100);
    is_deeply($client->get($k), { list => [1, 2, 3] }, "$name structure");

    my %expected = map { my $k = key(); $k => "$k!" } 1 .. 1000;
    $client->set($_, $expected{$_}, 100) for sort keys %expected;
    is_deeply($client->get_multi(keys %expected, map { key() } 1 .. 100), \%expected, "$name 1000 keys at once");

    # Called in void context, these two libraries send noreply where they can, and must stay in step.
    for my $turn (1 .. 100) {
        $client->set($k, $turn);
        $client->incr($k, 1000);
        is($client->get($k), $turn + 1000, "$name order") if $turn % 20 == 0;
    }

    $client->flush_all;
    is_deeply($client->get_multi(keys %expected), {}, "$name flush_all");
    return;
}

for my $count (1, scalar @servers) {
    my @some = @servers[0 .. $count - 1];
    my $plain = Cache::Memcached->new({ servers => \@some, connect_timeout => 10, select_timeout => 30 });
    common("Cache::Memcached over $count:", $plain);
    my $stats = $plain->stats(['misc']);
    for my $server (@some) {
        ok($stats->{hosts}{$server}{misc}{pid} > 0, "Cache::Memcached over $count: stats");
        like($stats->{hosts}{$server}{misc}{version}, qr/^1\.6\.\d+/, "Cache::Memcached over $count: version in stats");
    }

    my $fast = Cache::Memcached::Fast->new({ servers => \@some, connect_timeout => 10, io_timeout => 30 });
    common("Cache::Memcached::Fast over $count:", $fast);
    my $k = key();
    $fast->set($k, '1', 100);
    my $seen = $fast->gets($k);
    is($seen->[1], '1', "Cache::Memcached::Fast over $count: gets");
    ok($fast->cas($k, $seen->[0], '2', 100), "Cache::Memcached::Fast over $count: cas");
    ok(!$fast->cas($k, $seen->[0], '3', 100), "Cache::Memcached::Fast over $count: cas of something older");
    ok($fast->touch($k, 100), "Cache::Memcached::Fast over $count: touch");
    is(scalar(grep { /^1\.6\.\d+/ } values %{ $fast->server_versions }), $count, "Cache::Memcached::Fast over $count: versions");
    my @found = $fast->set_multi(map { [key(), 'x' x $_, 100] } 1 .. 500);
    is(scalar(grep { $_ } @found), 500, "Cache::Memcached::Fast over $count: set_multi");
}

done_testing();
