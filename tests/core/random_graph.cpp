#include "tests/core/random_graph.h"

#include <optional>
#include <random>

#include "core/base/error.h"
#include "tests/core/toy_ops.h"

namespace lockstep::testing {
namespace {

class Builder {
 public:
  Builder(std::uint32_t seed, const RandomGraphOptions& options)
      : random_(seed), options_(options) {}

  Graph run() {
    for (int i = 0; i < 2; ++i) graph_.input(text("x", i), random_type());
    for (int i = 0; i < 2; ++i) graph_.state(text("w", i), random_type());
    find_readable();
    while (static_cast<int>(graph_.nodes().size()) < options_.nodes) {
      add_node();
      find_readable();
    }
    graph_.output("last", readable_.back());
    for (int i = 0; i < 4; ++i) graph_.output(text("out", i), pick());
    graph_.verify();
    return std::move(graph_);
  }

 private:
  int below(int bound) { return static_cast<int>(random_() % bound); }
  bool chance(int one_in) { return below(one_in) == 0; }

  TensorType random_type() {
    if (chance(20)) return f32({0, 3});
    const Shape shape = chance(2) ? Shape{12} : chance(3) ? Shape{1} : Shape{4, 6};
    return options_.bf16 && chance(5) ? bf16(shape) : f32(shape);
  }

  // Some value that may be read; of the last ones more often.
  ValueId pick() {
    const int count = static_cast<int>(readable_.size());
    return readable_[chance(3) ? below(count) : count - 1 - below(std::min(count, 6))];
  }

  // A value of the same type as `like`.
  ValueId pick_like(ValueId like) {
    std::vector<ValueId> fitting;
    for (const ValueId id : readable_) {
      if (graph_.type(id) == graph_.type(like)) fitting.push_back(id);
    }
    return fitting[below(static_cast<int>(fitting.size()))];
  }

  void add_node() {
    const ValueId x = pick();
    if (options_.exchanges && chance(4)) {
      toy_send(graph_, x);
      return;
    }
    switch (below(options_.updates ? 14 : 12)) {
      case 0:
        toy_scale(graph_, x, -0.5);
        break;
      case 1:
        toy_shift(graph_, x, 0.25);
        break;
      case 2:
      case 3:
        toy_add(graph_, x, pick_like(x));
        break;
      case 4:
        toy_smooth(graph_, x, below(2) * 3);
        break;
      case 5:
        toy_split(graph_, x);
        break;
      case 6:
        add_view(x);
        break;
      case 7:
      case 8:
        add_pack(x);
        break;
      case 9:
        copy(graph_, x);
        break;
      case 10:
        cast(graph_, x,
             options_.bf16 && graph_.type(x).dtype == DType::kF32 ? DType::kBF16 : DType::kF32);
        break;
      case 11:
        fill(graph_, graph_.type(x), 0.5);
        break;
      default:
        add_update(x);
        break;
    }
  }

  void add_view(ValueId x) {
    const std::int64_t elements = graph_.type(x).elements();
    if (chance(2) || elements < 2) {
      view(graph_, x, {elements, 1});
    } else {
      const std::int64_t offset = below(static_cast<int>(elements));
      view(graph_, x, {1 + below(static_cast<int>(elements - offset))}, offset);
    }
  }

  void add_pack(ValueId x) {
    std::vector<ValueId> values{x};
    for (int i = below(4); i > 0; --i) {
      const ValueId other = pick();
      if (graph_.type(other).dtype != graph_.type(x).dtype) continue;
      const std::int64_t elements = graph_.type(other).elements();
      values.push_back(chance(2) ? view(graph_, other, {elements}) : other);
    }
    std::int64_t elements = 0;
    for (const ValueId value : values) elements += graph_.type(value).elements();
    if (elements < 100) pack(graph_, values);
  }

  void add_update(ValueId x) {
    const ValueId gradient = pick_like(x), moment = pick_like(x);
    if (gradient == x) return;
    // Both overwritten inputs must be different memory, or the result depends on the kernel's
    // order.
    const bool with_moment = moment != x && moment != gradient && is_leaf(x) && is_leaf(moment);
    toy_update(graph_, x, gradient, with_moment ? moment : kNoValue);
    if (!is_valid(graph_) || overlaps(x, gradient)) graph_ = before_;
  }

  bool is_leaf(ValueId id) const { return graph_.value(id).kind != ValueKind::kResult; }

  // Whether two values share memory, through views and updates.
  bool overlaps(ValueId a, ValueId b) const { return root(a) == root(b); }
  ValueId root(ValueId id) const {
    while (!is_leaf(id)) {
      const Value& value = graph_.value(id);
      const Node& node = graph_.node(value.producer);
      const Traits traits = node.op->traits();
      if (!traits.view && traits.mutates == 0) break;
      id = node.inputs[traits.mutates == 0b101u && value.producer_output == 1 ? 2 : 0];
    }
    return id;
  }

  static bool is_valid(const Graph& graph) {
    try {
      graph.verify();
      return true;
    } catch (const Error&) {
      return false;
    }
  }

  // The values that no update has made old.
  void find_readable() {
    const bool updated = !graph_.nodes().empty() && graph_.nodes().back().op->traits().mutates != 0;
    if (updated) readable_.clear();
    const ValueId first = updated ? 0 : static_cast<ValueId>(before_.values().size());
    for (ValueId id = first; id < static_cast<ValueId>(graph_.values().size()); ++id) {
      if (!updated || may_be_read(id)) readable_.push_back(id);
    }
    before_ = graph_;
  }

  bool may_be_read(ValueId id) const {
    Graph trial = graph_;
    copy(trial, id);
    return is_valid(trial);
  }

  std::mt19937 random_;
  const RandomGraphOptions options_;
  Graph graph_, before_;
  std::vector<ValueId> readable_;
};

}  // namespace

Graph random_graph(std::uint32_t seed, const RandomGraphOptions& options) {
  return Builder(seed, options).run();
}

std::map<std::string, std::vector<double>> random_feeds(const Graph& graph, std::uint32_t seed) {
  std::mt19937 random(seed);
  std::map<std::string, std::vector<double>> feeds;
  for (const Value& value : graph.values()) {
    if (value.kind == ValueKind::kResult) continue;
    std::vector<double>& values = feeds[value.name];
    for (std::int64_t i = 0; i < value.type.elements(); ++i) {
      values.push_back(static_cast<double>(random() % 256) / 128 - 1);  // exact in bf16
    }
  }
  return feeds;
}

}  // namespace lockstep::testing
