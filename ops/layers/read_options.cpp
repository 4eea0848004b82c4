#include "ops/layers/read_options.h"

#include "core/base/error.h"

namespace lockstep {
namespace {

std::int64_t checked(const Settings& settings, const std::string& key, std::int64_t value) {
  if (value < 1) settings.refuse(key, text("found ", value, ", expected an integer of at least 1"));
  return value;
}

}  // namespace

std::int64_t read_positive(Settings& settings, const std::string& key) {
  return checked(settings, key, settings.integer(key));
}

std::int64_t read_positive(Settings& settings, const std::string& key, std::int64_t fallback) {
  return checked(settings, key, settings.integer(key, fallback));
}

std::array<std::int64_t, 2> read_size(Settings& settings, const std::string& key,
                                      const std::array<std::int64_t, 2>& fallback) {
  if (fallback[0] == 0 && !settings.has(key)) {
    settings.find(key);
    settings.refuse(key, "missing; expected one integer or two, such as 3 or [3, 3]");
  }
  const auto values = settings.integers(key, 2, {fallback[0], fallback[1]});
  return {checked(settings, key, values[0]), checked(settings, key, values[1])};
}

Initializer read_initializer(Settings& settings, const std::string& key,
                             const Initializer& fallback) {
  const Setting* raw = settings.find(key);
  if (raw != nullptr && std::holds_alternative<std::shared_ptr<Settings>>(raw->value)) {
    Settings& table = settings.table(key);
    Initializer initializer;
    initializer.kind = table.choice("kind", Initializer::kinds(), fallback.kind);
    initializer.value = table.real("value", 0.0);
    return initializer;
  }
  Initializer initializer = fallback;
  initializer.kind = settings.choice(key, Initializer::kinds(), fallback.kind);
  return initializer;
}

}  // namespace lockstep
