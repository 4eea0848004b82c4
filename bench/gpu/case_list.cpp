#include "bench/gpu/case_list.h"

#include <iostream>

#include "core/base/error.h"

namespace lockstep::bench {
namespace {

// Without the tensor cores, products beyond this take long and tell nothing more; of the
// convolutions those of one pixel are left out.
constexpr double kMostFlopsOfF32 = 2e11;

const char* name_of(CaseGroup group) {
  switch (group) {
    case CaseGroup::kBandwidth:
      return "bandwidth";
    case CaseGroup::kProduct:
      return "product";
    default:
      return "convolution";
  }
}

double flops(const KernelCase& c) {
  return c.op->flops(c.inputs, c.op->infer(c.inputs));
}

double least_bytes(const KernelCase& c) {
  double bytes = c.more_bytes;
  for (const TensorType& type : c.inputs) bytes += static_cast<double>(type.bytes());
  for (const TensorType& type : c.op->infer(c.inputs)) bytes += static_cast<double>(type.bytes());
  return bytes;
}

// "(256, 784) (784, 1024)": the shapes that tell the size.
std::string size_of(const KernelCase& c) {
  std::string out = c.inputs[0].shape.to_string();
  const bool same = c.inputs.size() > 1 && c.inputs[1].shape == c.inputs[0].shape;
  if (c.group != CaseGroup::kBandwidth && !same) out += " " + c.inputs[1].shape.to_string();
  return out;
}

std::vector<KernelCase> cases_of(const std::string& precision) {
  const DType data = precision == "bf16" ? DType::kBF16 : DType::kF32;
  std::vector<KernelCase> out;
  const auto add = [&](std::vector<KernelCase> more) {
    for (KernelCase& c : more) {
      const bool slow = c.group == CaseGroup::kProduct && flops(c) > kMostFlopsOfF32;
      const bool small = c.group == CaseGroup::kConvolution && c.numbers.at("kernel") == 1;
      if (precision != "f32" || !(slow || small)) out.push_back(std::move(c));
    }
  };
  if (precision != "tf32") add(bandwidth_cases(data));
  add(product_cases(data));
  add(convolution_cases(data));
  return out;
}

}  // namespace

CaseChoice read_choice(int argc, char** argv) {
  CaseChoice out;
  for (int i = 1; i < argc; ++i) {
    const std::string word = argv[i];
    if (word == "--list") {
      out.list = true;
      continue;
    }
    if (word == "--autotune") {
      out.autotune = true;
      continue;
    }
    check_input(i + 1 < argc, word, ": there is no such option, or it needs a value");
    const std::string value = argv[++i];
    if (word == "--only") {
      out.only = value;
    } else if (word == "--precision") {
      out.precision = value;
    } else if (word == "--name") {
      out.name = value;
    } else if (word == "--first") {
      out.first = std::stoi(value);
    } else {
      bad_input("no such option: ", word);
    }
  }
  return out;
}

std::vector<ListedCase> chosen_cases(const CaseChoice& choice) {
  std::vector<ListedCase> out;
  int number = 0;
  for (const char* precision : {"f32", "bf16", "tf32"}) {
    for (KernelCase& c : cases_of(precision)) {
      const int own = number++;
      if (own < choice.first || (!choice.only.empty() && choice.only != name_of(c.group))) continue;
      if (!choice.precision.empty() && choice.precision != precision) continue;
      if (c.name.find(choice.name) == std::string::npos) continue;
      out.push_back({own, precision, std::move(c)});
    }
  }
  return out;
}

Json described(const ListedCase& listed) {
  const KernelCase& c = listed.what;
  const auto list = [](const std::vector<TensorType>& types) {
    Json out = Json::array();
    for (const TensorType& type : types) {
      const auto dims = type.shape.dims();
      out.push_back(
          {lockstep::name_of(type.dtype), std::vector<std::int64_t>(dims.begin(), dims.end())});
    }
    return out;
  };
  return {{"case", listed.number},
          {"group", name_of(c.group)},
          {"name", c.name},
          {"size", size_of(c)},
          {"precision", listed.precision},
          {"op", c.op->to_string().substr(0, 200)},
          {"inputs", list(c.inputs)},
          {"outputs", list(c.op->infer(c.inputs))},
          {"numbers", c.numbers},
          {"bytes", least_bytes(c)},
          {"flops", flops(c)}};
}

void print(const Json& line) {
  std::cout << line.dump() << std::endl;
}

}  // namespace lockstep::bench
