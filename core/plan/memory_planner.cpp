#include "core/plan/memory_planner.h"

#include <algorithm>
#include <cstdint>
#include <numeric>

#include "core/base/random.h"
#include "core/device/device.h"

namespace lockstep {
namespace {

std::size_t aligned(std::size_t bytes) {
  return (bytes + kMemoryAlignment - 1) / kMemoryAlignment * kMemoryAlignment;
}

// Bytes that live at each step.
std::vector<std::size_t> live_bytes(std::span<const LiveRange> ranges) {
  int steps = 0;
  for (const LiveRange& range : ranges) steps = std::max(steps, range.last + 1);
  std::vector<std::size_t> live(steps + 1, 0);  // differences first; they wrap around and back
  for (const LiveRange& range : ranges) {
    live[range.first] += aligned(range.bytes);
    live[range.last + 1] -= aligned(range.bytes);
  }
  std::partial_sum(live.begin(), live.end(), live.begin());
  live.pop_back();
  return live;
}

// For each buffer the most bytes that live at one of its steps. A sparse table of maxima: O(s log
// s) for s steps, then O(1) a buffer.
std::vector<std::size_t> fullest_steps(std::span<const LiveRange> ranges) {
  std::vector<std::vector<std::size_t>> table{live_bytes(ranges)};
  for (std::size_t width = 2; width <= table[0].size(); width *= 2) {
    const std::vector<std::size_t>& half = table.back();
    std::vector<std::size_t> level(table[0].size() - width + 1);
    for (std::size_t s = 0; s < level.size(); ++s)
      level[s] = std::max(half[s], half[s + width / 2]);
    table.push_back(std::move(level));
  }
  std::vector<std::size_t> fullest;
  fullest.reserve(ranges.size());
  for (const LiveRange& range : ranges) {
    std::size_t level = 0;
    while (2 << level <= range.last - range.first + 1) ++level;
    fullest.push_back(
        std::max(table[level][range.first], table[level][range.last + 1 - (1 << level)]));
  }
  return fullest;
}

// Best fit: places buffers one by one, each into the smallest gap between the placed buffers that
// live at the same time.
class BestFit {
 public:
  explicit BestFit(std::span<const LiveRange> ranges) : ranges_(ranges) {
    placed_.reserve(ranges.size());
  }

  // Into `offsets`. Returns the peak, or SIZE_MAX as soon as it would reach `limit`.
  std::size_t place(const std::vector<int>& order, std::size_t limit,
                    std::vector<std::size_t>& offsets) {
    placed_.clear();
    std::size_t peak = 0;
    for (const int buffer : order) {
      const LiveRange& range = ranges_[buffer];
      const std::size_t bytes = aligned(range.bytes);
      const std::size_t offset = smallest_gap(range, bytes);
      peak = std::max(peak, offset + bytes);
      if (peak >= limit) return SIZE_MAX;
      offsets[buffer] = offset;
      const Placed placed{offset, offset + bytes, range.first, range.last};
      placed_.insert(
          std::upper_bound(placed_.begin(), placed_.end(), placed,
                           [](const Placed& a, const Placed& b) { return a.begin < b.begin; }),
          placed);
    }
    return peak;
  }

 private:
  struct Placed {
    std::size_t begin, end;  // bytes
    int first, last;         // steps
  };

  std::size_t smallest_gap(const LiveRange& range, std::size_t bytes) const {
    std::size_t end = 0, best = 0, best_gap = SIZE_MAX;
    for (const Placed& other : placed_) {
      if (other.first > range.last || other.last < range.first) continue;
      if (other.begin > end) {
        const std::size_t gap = other.begin - end;
        if (gap >= bytes && gap < best_gap) {
          best = end;
          best_gap = gap;
        }
      }
      end = std::max(end, other.end);
    }
    return best_gap == SIZE_MAX ? end : best;
  }

  std::span<const LiveRange> ranges_;
  std::vector<Placed> placed_;  // by `begin`
};

// Tries several orders of placement, then searches for a better one.
class Planner {
 public:
  explicit Planner(std::span<const LiveRange> ranges)
      : ranges_(ranges), fit_(ranges), bound_(largest_live_set(ranges)) {
    for (std::size_t i = 0; i < ranges.size(); ++i) {
      if (ranges[i].bytes > 0) buffers_.push_back(static_cast<int>(i));
    }
    best_.offsets.assign(ranges.size(), 0);
    offsets_ = best_.offsets;
    best_.peak = buffers_.empty() ? 0 : SIZE_MAX;
  }

  MemoryLayout run() {
    const std::vector<std::size_t> fullest = fullest_steps(ranges_);
    auto length = [&](int i) { return ranges_[i].last - ranges_[i].first + 1; };
    auto bytes = [&](int i) { return ranges_[i].bytes; };
    auto area = [&](int i) { return static_cast<double>(bytes(i)) * length(i); };
    attempt([&](int a, int b) { return bytes(a) > bytes(b); });
    // Buffers that take part in the fullest step decide the peak.
    attempt([&](int a, int b) {
      return fullest[a] != fullest[b] ? fullest[a] > fullest[b] : bytes(a) > bytes(b);
    });
    attempt([&](int a, int b) { return area(a) > area(b); });
    attempt([&](int a, int b) { return length(a) > length(b); });
    attempt([&](int a, int b) { return ranges_[a].first < ranges_[b].first; });
    attempt([&](int a, int b) { return ranges_[a].last > ranges_[b].last; });
    improve();
    return std::move(best_);
  }

 private:
  // No layout is smaller than the bound.
  bool optimal() const { return best_.peak <= bound_; }

  template <typename Before>
  void attempt(const Before& before) {
    if (optimal() || work_left_ < 0) return;
    std::vector<int> order = buffers_;
    std::stable_sort(order.begin(), order.end(), before);
    if (attempt_order(order, best_.peak)) best_order_ = std::move(order);
  }

  // Keeps the layout if its peak is below `limit`.
  bool attempt_order(const std::vector<int>& order, std::size_t limit) {
    work_left_ -= static_cast<std::int64_t>(order.size() * order.size());
    const std::size_t peak = fit_.place(order, limit, offsets_);
    if (peak == SIZE_MAX) return false;
    best_.peak = peak;
    best_.offsets = offsets_;
    return true;
  }

  // A walk from order to order that never goes up: a buffer that reaches the peak is placed
  // earlier, another one anywhere, or two change places.
  void improve() {
    work_left_ = std::min(work_left_, kSearchWork);
    const RandomStream random(0, Purpose::kShuffle);
    std::vector<int> order = best_order_;
    for (std::uint32_t trial = 0; !optimal() && work_left_ > 0; ++trial) {
      const PhiloxCounter draw = random.block(trial, 0, 0);
      const std::size_t from = draw[0] % 2 == 0 ? at_peak(order) : draw[1] % order.size();
      const std::size_t to = draw[2] % (draw[0] % 2 == 0 ? from + 1 : order.size());
      if (draw[0] % 4 == 1) {
        std::swap(order[from], order[to]);
      } else {
        move(order, from, to);
      }
      if (attempt_order(order, best_.peak + 1)) {
        best_order_ = order;
      } else {
        order = best_order_;
      }
    }
  }

  // Where in the order the first buffer that reaches the peak stands.
  std::size_t at_peak(const std::vector<int>& order) const {
    const auto reaches = [&](int i) {
      return best_.offsets[i] + aligned(ranges_[i].bytes) == best_.peak;
    };
    return std::ranges::find_if(order, reaches) - order.begin();
  }

  static void move(std::vector<int>& order, std::size_t from, std::size_t to) {
    const auto begin = order.begin();
    if (to <= from) {
      std::rotate(begin + to, begin + from, begin + from + 1);
    } else {
      std::rotate(begin + from, begin + from + 1, begin + to + 1);
    }
  }

  // In pairs of buffers that are compared, about 10^9 a second. So all orders are tried for 5000
  // buffers, and one for more than 12,000.
  static constexpr std::int64_t kWork = 150'000'000, kSearchWork = 5'000'000;

  std::span<const LiveRange> ranges_;
  BestFit fit_;
  std::size_t bound_;
  std::vector<int> buffers_;  // those with bytes
  MemoryLayout best_;
  std::vector<int> best_order_;
  std::vector<std::size_t> offsets_;  // of the layout that is being tried
  std::int64_t work_left_ = kWork;
};

}  // namespace

MemoryLayout plan_memory(std::span<const LiveRange> ranges) {
  return Planner(ranges).run();
}

std::size_t largest_live_set(std::span<const LiveRange> ranges) {
  const std::vector<std::size_t> live = live_bytes(ranges);
  return live.empty() ? 0 : *std::max_element(live.begin(), live.end());
}

}  // namespace lockstep
