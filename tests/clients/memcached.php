<?php
// PHP's memcached extension (libmemcached underneath), on one endpoint and sharding over three. See support.py.

declare(strict_types=1);

$ports = array_map('intval', explode(' ', getenv('CLIENTS_PORTS')));
$number = 0;
$wrong = 0;

function key_(): string
{
    global $number;
    return 'php-' . getmypid() . '-' . $number++;
}

// Bytes of every kind, line ends and protocol words among them.
function value(int $size): string
{
    $bytes = "\r\nEND\r\nVALUE x 0 1\r\n" . implode('', array_map('chr', range(0, 255)));
    return substr(str_repeat($bytes, 1 + intdiv($size, strlen($bytes))), 0, $size);
}

function ok(bool $right, string $what): void
{
    global $wrong;
    $wrong += $right ? 0 : 1;
    echo $right ? 'ok' : 'not ok', ' - ', $what, "\n";
}

function common(string $name, array $ports, array $options): void
{
    $client = new Memcached();
    $client->setOptions($options + [
        Memcached::OPT_CONNECT_TIMEOUT => 10000,
        Memcached::OPT_POLL_TIMEOUT => 30000,
        Memcached::OPT_COMPRESSION => false,
    ]);
    foreach ($ports as $port) {
        $client->addServer('127.0.0.1', $port);
    }
    foreach ([0, 1, 100, 1023, 2048, 8191, 65536, 1000000] as $size) {
        $k = key_();
        ok($client->set($k, value($size), 100), "$name: stores $size bytes");
        ok($client->get($k) === value($size), "$name: returns $size bytes");
    }

    $k = key_();
    ok(!$client->replace($k, '0', 100), "$name: replace of nothing");
    ok($client->add($k, '1', 100), "$name: add");
    ok(!$client->add($k, '2', 100), "$name: add of something");
    ok($client->getResultCode() === Memcached::RES_NOTSTORED, "$name: says not stored");
    ok($client->replace($k, '3', 100), "$name: replace");
    ok($client->append($k, '4') && $client->prepend($k, '2'), "$name: append and prepend");
    ok($client->get($k) === '234', "$name: get");
    $client->set($k, 20, 100);
    ok($client->increment($k, 5) === 25, "$name: increment");
    ok($client->decrement($k, 500) === 0, "$name: decrement");
    ok($client->touch($k, 1000), "$name: touch");
    ok($client->delete($k), "$name: delete");
    ok(!$client->delete($k) && $client->getResultCode() === Memcached::RES_NOTFOUND, "$name: delete of nothing");

    $client->set($k, ['a' => [1, 2.5, null, true]], 100);
    ok($client->get($k) === ['a' => [1, 2.5, null, true]], "$name: structure");
    $extended = $client->get($k, null, Memcached::GET_EXTENDED);
    ok($client->cas($extended['cas'], $k, 'new', 100), "$name: cas");
    ok(!$client->cas($extended['cas'], $k, 'newer', 100), "$name: cas of something older");
    ok($client->getResultCode() === Memcached::RES_DATA_EXISTS, "$name: says that it exists");

    $expected = [];
    for ($i = 0; $i < 1000; $i++) {
        $k = key_();
        $expected[$k] = "$k!";
    }
    ok($client->setMulti($expected, 100), "$name: sets 1000 keys");
    $found = $client->getMulti(array_merge(array_keys($expected), [key_()]));
    ksort($found);
    ksort($expected);
    ok($found === $expected, "$name: 1000 keys at once");
    $client->getDelayed(array_keys($expected));
    ok(count($client->fetchAll()) === 1000, "$name: 1000 keys, delayed");

    foreach ($client->getVersion() as $version) {
        ok(preg_match('/^1\.6\.\d+/', $version) === 1, "$name: version");
    }
    foreach ($client->getStats() as $stats) {
        ok($stats['pid'] > 0 && preg_match('/^1\.6\.\d+/', $stats['version']) === 1, "$name: stats");
    }
    ok($client->flush(), "$name: flush");
    ok($client->getMulti(array_keys($expected)) === [], "$name: nothing is left");
    $client->quit();
}

common('one', [$ports[0]], []);
common('one, without delay', [$ports[0]], [Memcached::OPT_TCP_NODELAY => true, Memcached::OPT_NO_BLOCK => true]);
common('three, ketama', $ports, [Memcached::OPT_LIBKETAMA_COMPATIBLE => true]);

// The binary protocol is not spoken by ringroad; such a client must get an error at once, not hang.
$client = new Memcached();
$client->setOptions([Memcached::OPT_BINARY_PROTOCOL => true, Memcached::OPT_POLL_TIMEOUT => 30000]);
$client->addServer('127.0.0.1', $ports[0]);
$began = microtime(true);
$stored = $client->set(key_(), '1', 100);
ok($stored === (getenv('CLIENTS_TARGET') === 'memcached'), 'a binary client is served or refused');
ok(microtime(true) - $began < 10, 'a binary client waits for neither');

exit($wrong === 0 ? 0 : 1);
