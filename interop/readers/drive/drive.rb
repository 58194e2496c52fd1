# Drives a reader of Ruby: drive.rb PROGRAM GEM. readers_test.go has the protocol.
require "rubygems"
$stdout.sync = true
load ARGV[0]
puts "ready #{Gem.loaded_specs[ARGV[1]]&.version || Gem::Specification.find_by_name(ARGV[1]).version}"
$stdin.each_line do |line|
  puts "ok #{verify(line.strip)["sub"]}"
rescue StandardError => e
  puts "refused #{e.class} #{e.message.split.join(" ")}"
end
