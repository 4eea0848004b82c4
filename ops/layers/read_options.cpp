#include "ops/layers/read_options.h"

#include "core/base/error.h"

namespace lockstep {
namespace {

std::int64_t checked(const Settings& settings, const std::string& key, std::int64_t value) {
  constexpr std::int64_t kMost = (std::int64_t{1} << 31) - 1;
  if (value < 1) settings.refuse(key, text("found ", value, ", expected an integer of at least 1"));
  if (value > kMost) settings.refuse(key, text("found ", value, ", expected at most ", kMost));
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
    if (table.has("value")) {
      initializer.value = table.real("value");
      const std::string wrong = initializer.wrong_value();
      if (!wrong.empty()) table.refuse("value", text("found ", initializer.value, ", ", wrong));
    }
    return initializer;
  }
  Initializer initializer = fallback;
  initializer.kind = settings.choice(key, Initializer::kinds(), fallback.kind);
  return initializer;
}

int read_axis(Settings& settings, const std::string& key, int fallback) {
  const std::int64_t axis = settings.integer(key, fallback);
  if (axis < -Shape::kMaxRank || axis >= Shape::kMaxRank) {
    settings.refuse(key, text("found ", axis, ", expected an axis between ", -Shape::kMaxRank, " and ", Shape::kMaxRank - 1));
  }
  return static_cast<int>(axis);
}

}  // namespace lockstep
