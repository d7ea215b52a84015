# Dalli as Debian has it speaks the binary protocol only. memcached serves it; ringroad must close the connection at
# once, so that its user sees an error within moments and not after a timeout.
require 'dalli'

Dalli.logger.level = Logger::FATAL
port = ENV.fetch('CLIENTS_PORTS').split.first
served = ENV.fetch('CLIENTS_TARGET') == 'memcached'
client = Dalli::Client.new("127.0.0.1:#{port}", socket_timeout: 30, socket_max_failures: 0)

began = Process.clock_gettime(Process::CLOCK_MONOTONIC)
outcome =
  begin
    client.set('dalli', 'value', 100)
    client.get('dalli')
  rescue Dalli::DalliError => e
    e
  end
took = Process.clock_gettime(Process::CLOCK_MONOTONIC) - began

right = served ? outcome == 'value' : outcome.is_a?(Dalli::DalliError)
puts "#{'not ' unless right}ok - is served or refused"
puts "#{'not ' unless took < 10}ok - at once"
warn "outcome: #{outcome.inspect}, after #{took} s"
