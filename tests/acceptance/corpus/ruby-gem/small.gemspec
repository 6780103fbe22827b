Gem::Specification.new do |gem|
  gem.name = "small"
  gem.version = "0.1"
  gem.summary = "Small"
  gem.description = "As small as it gets"
  gem.authors = ["A"]
  gem.homepage = "https://example.org/"
  gem.license = "GPL-2.0-or-later"
  gem.files = Dir["lib/*"]
end
