require "securerandom"

puts "# #{Time.now.utc.iso8601(9)} #{Process.pid} #{Object.new.inspect}" if Time.now.utc.respond_to?(:iso8601)
puts "TABLE = #{[rand, "word".hash, SecureRandom.uuid, Time.now.to_f].inspect}"
puts "SHUFFLED = #{(1..40).to_a.shuffle.inspect}"
