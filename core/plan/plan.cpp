#include "core/plan/plan.h"

#include <xxhash.h>

#include <iomanip>
#include <sstream>

namespace lockstep {

double Plan::flops() const {
  double sum = 0;
  for (const Step& step : steps) sum += step.flops;
  return sum;
}

std::size_t Plan::bytes_moved() const {
  std::size_t sum = 0;
  for (const Step& step : steps) sum += step.bytes;
  return sum;
}

namespace {

std::size_t total_bytes(const std::vector<PlanValue>& values) {
  std::size_t sum = 0;
  for (const PlanValue& value : values) sum += value.type.bytes();
  return sum;
}

void write_ref(std::ostream& out, const BufferRef& ref) {
  out << ' ' << static_cast<int>(ref.space) << ':' << ref.index << '+' << ref.offset;
}

}  // namespace

std::size_t Plan::input_bytes() const {
  return total_bytes(inputs);
}
std::size_t Plan::state_bytes() const {
  return total_bytes(states);
}

std::uint64_t Plan::hash() const {
  std::ostringstream out;
  for (const auto* list : {&inputs, &states, &outputs}) {
    for (const PlanValue& value : *list) {
      out << value.name << ' ' << value.type.to_string();
      write_ref(out, value.where);
      out << '\n';
    }
  }
  for (const Step& step : steps) {
    out << step.name << ' ' << step.op << ' ' << step.kernel->name;
    for (const BufferRef& ref : step.inputs) write_ref(out, ref);
    out << " ->";
    for (const BufferRef& ref : step.outputs) write_ref(out, ref);
    out << " with";
    write_ref(out, step.workspace);
    out << " on " << static_cast<int>(step.stream) << " after " << step.waits_for;
    out << '\n';
  }
  const std::string text = std::move(out).str();
  return XXH3_64bits(text.data(), text.size());
}

std::string Plan::to_string() const {
  std::size_t name_width = 4, kernel_width = 6;
  for (const Step& step : steps) {
    name_width = std::max(name_width, step.name.size());
    kernel_width = std::max(kernel_width, step.kernel->name.size());
  }
  std::ostringstream out;
  const int name_columns = static_cast<int>(name_width) + 2;
  const int kernel_columns = static_cast<int>(kernel_width) + 2;
  out << std::left << std::setw(6) << "step" << std::setw(name_columns) << "name"
      << std::setw(kernel_columns) << "kernel" << std::right << std::setw(12) << "kFLOP"
      << std::setw(12) << "kB"
      << "  stream         op\n";
  out << std::fixed << std::setprecision(1);
  for (std::size_t i = 0; i < steps.size(); ++i) {
    const Step& step = steps[i];
    out << std::left << std::setw(6) << i << std::setw(name_columns) << step.name
        << std::setw(kernel_columns) << step.kernel->name << std::right << std::setw(12)
        << step.flops / 1e3 << std::setw(12) << static_cast<double>(step.bytes) / 1e3 << "  "
        << (step.stream == StreamKind::kCommunication ? "communication  " : "compute        ") << step.op
        << '\n';
  }
  return std::move(out).str();
}

}  // namespace lockstep
