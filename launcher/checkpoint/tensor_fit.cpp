#include "launcher/checkpoint/tensor_fit.h"

#include <algorithm>

#include "core/base/error.h"

namespace lockstep {
namespace {

constexpr std::size_t kShown = 5;

// What is wrong in one way, not too many of it.
class Listed {
 public:
  explicit Listed(const char* as) : as_(as) {}
  void add(const std::string& tensor) {
    if (++count_ <= kShown) text_ += (text_.empty() ? "" : ", ") + tensor;
  }
  std::string to_string() const {
    if (count_ == 0) return {};
    return text(as_, ": ", text_, count_ > kShown ? text(" and ", count_ - kShown, " more") : "");
  }

 private:
  const char* as_;
  std::size_t count_ = 0;
  std::string text_;
};

}  // namespace

TensorFit::TensorFit(const std::map<std::string, Shape>& there, const std::map<std::string, Shape>& wanted) {
  Listed missing("missing"), reshaped("of another shape"), extra("not in the model");
  for (const auto& [name, shape] : wanted) {
    const auto found = there.find(name);
    if (found != there.end() && found->second == shape) continue;
    names_.push_back(name);
    if (found == there.end()) {
      missing.add(text(name, " ", shape));
    } else {
      reshaped.add(text(name, " ", found->second, " (the model's is ", shape, ")"));
    }
  }
  for (const auto& [name, shape] : there) {
    if (wanted.contains(name)) continue;
    names_.push_back(name);
    extra.add(text(name, " ", shape));
  }
  std::ranges::sort(names_);
  for (const Listed* listed : {&missing, &reshaped, &extra}) {
    const std::string one = listed->to_string();
    if (!one.empty()) text_ += (text_.empty() ? "" : "; ") + one;
  }
}

}  // namespace lockstep
