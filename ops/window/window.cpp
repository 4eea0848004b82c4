#include "ops/window/window.h"

#include <algorithm>

#include "core/base/error.h"

namespace lockstep {
namespace {

constexpr const char* kAxes[] = {"height", "width"};

std::string pair(const std::array<std::int64_t, 2>& values) {
  return text('(', values[0], ", ", values[1], ')');
}

}  // namespace

std::string Padding2d::to_string() const {
  switch (kind) {
    case PaddingKind::kValid:
      return "valid";
    case PaddingKind::kSame:
      return "same";
    case PaddingKind::kExplicit:
      return pair(amount);
  }
  broken_invariant("a padding of no known kind");
}

void Window2d::check() const {
  for (int axis = 0; axis < 2; ++axis) {
    check_input(size[axis] >= 1 && strides[axis] >= 1 && dilation[axis] >= 1, "window of ",
                pair(size), ", strides ", pair(strides), ", dilation ", pair(dilation),
                ", expected 1 or more everywhere");
    if (padding.kind != PaddingKind::kExplicit) continue;
    check_input(padding.amount[axis] >= 0 && padding.amount[axis] < reach(axis), "padding ",
                pair(padding.amount), ", expected 0 or more and less than the window of ",
                pair(size), " with its dilation");
  }
}

std::int64_t Window2d::output(int axis, std::int64_t input) const {
  if (padding.kind == PaddingKind::kSame) {
    check_input(input >= 1, "input has ", kAxes[axis], " 0");
    return (input + strides[axis] - 1) / strides[axis];
  }
  const std::int64_t padded = input + 2 * padding_before(axis, input);
  check_input(input >= 1 && padded >= reach(axis), "window of ", kAxes[axis], " ", reach(axis),
              " does not fit into the input's ", kAxes[axis], " ", input,
              padding.kind == PaddingKind::kValid ? "; padding \"same\" would do" : "");
  return (padded - reach(axis)) / strides[axis] + 1;
}

std::int64_t Window2d::padding_before(int axis, std::int64_t input) const {
  switch (padding.kind) {
    case PaddingKind::kValid:
      return 0;
    case PaddingKind::kSame:
      return std::max<std::int64_t>((output(axis, input) - 1) * strides[axis] + reach(axis) - input,
                                    0) /
             2;
    case PaddingKind::kExplicit:
      return padding.amount[axis];
  }
  broken_invariant("a padding of no known kind");
}

std::int64_t Window2d::padding_behind(int axis, std::int64_t input) const {
  if (padding.kind != PaddingKind::kSame) return padding_before(axis, input);
  const std::int64_t total = (output(axis, input) - 1) * strides[axis] + reach(axis) - input;
  return std::max<std::int64_t>(total, 0) - padding_before(axis, input);
}

std::string Window2d::to_string(bool with_size) const {
  return text(with_size ? text("size=", pair(size), " ") : std::string(), "strides=", pair(strides),
              " padding=", padding.to_string(), " dilation=", pair(dilation));
}

Padding2d read_padding(Settings& settings, const Padding2d& fallback) {
  const Setting* setting = settings.find("padding");
  if (setting != nullptr && !std::holds_alternative<std::string>(setting->value)) {
    const auto amount = settings.integers("padding", 2, {0, 0});
    if (std::ranges::min(amount) < 0) {
      settings.refuse("padding", text(pair({amount[0], amount[1]}), " is negative"));
    }
    return {PaddingKind::kExplicit, {amount[0], amount[1]}};
  }
  const bool same = fallback.kind == PaddingKind::kSame;
  return {settings.choice("padding", {"valid", "same"}, same ? "same" : "valid") == "same"
              ? PaddingKind::kSame
              : PaddingKind::kValid};
}

}  // namespace lockstep
