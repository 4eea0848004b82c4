#include "core/plan/memory_planner.h"

#include <algorithm>
#include <numeric>

#include "core/device/device.h"

namespace lockstep {
namespace {

std::size_t aligned(std::size_t bytes) {
  return (bytes + kMemoryAlignment - 1) / kMemoryAlignment * kMemoryAlignment;
}

bool overlap(const LiveRange& a, const LiveRange& b) {
  return a.first <= b.last && b.first <= a.last;
}

// Places the buffers in `order`, each into the smallest gap between the placed ones that live at the same time.
MemoryLayout place(std::span<const LiveRange> ranges, const std::vector<int>& order) {
  MemoryLayout layout;
  layout.offsets.assign(ranges.size(), 0);
  std::vector<int> by_offset;  // placed so far
  for (const int buffer : order) {
    const std::size_t bytes = aligned(ranges[buffer].bytes);
    std::size_t end = 0, best = 0, best_gap = SIZE_MAX;
    for (const int other : by_offset) {
      if (!overlap(ranges[buffer], ranges[other])) continue;
      const std::size_t start = layout.offsets[other];
      if (start > end && start - end >= bytes && start - end < best_gap) {
        best = end;
        best_gap = start - end;
      }
      end = std::max(end, start + aligned(ranges[other].bytes));
    }
    layout.offsets[buffer] = best_gap == SIZE_MAX ? end : best;
    layout.peak = std::max(layout.peak, layout.offsets[buffer] + bytes);
    const auto at = std::upper_bound(
        by_offset.begin(), by_offset.end(), buffer,
        [&](int a, int b) { return layout.offsets[a] < layout.offsets[b]; });
    by_offset.insert(at, buffer);
  }
  return layout;
}

}  // namespace

MemoryLayout plan_memory(std::span<const LiveRange> ranges) {
  std::vector<int> order;
  for (std::size_t i = 0; i < ranges.size(); ++i) {
    if (ranges[i].bytes > 0) order.push_back(static_cast<int>(i));
  }
  auto length = [&](int i) { return ranges[i].last - ranges[i].first; };
  auto by_size = [&](int a, int b) { return ranges[a].bytes > ranges[b].bytes; };
  auto by_area = [&](int a, int b) {
    return static_cast<double>(ranges[a].bytes) * (length(a) + 1) >
           static_cast<double>(ranges[b].bytes) * (length(b) + 1);
  };
  auto by_length = [&](int a, int b) { return length(a) > length(b); };
  auto by_start = [&](int a, int b) { return ranges[a].first < ranges[b].first; };
  auto by_end = [&](int a, int b) { return ranges[a].last > ranges[b].last; };

  // Buffers that take part in the fullest step first: they decide the peak.
  std::vector<std::size_t> fullest(ranges.size(), 0);
  {
    int steps = 0;
    for (const int i : order) steps = std::max(steps, ranges[i].last + 1);
    std::vector<std::size_t> live(steps, 0);
    for (const int i : order) {
      for (int s = ranges[i].first; s <= ranges[i].last; ++s) live[s] += aligned(ranges[i].bytes);
    }
    for (const int i : order) {
      for (int s = ranges[i].first; s <= ranges[i].last; ++s) {
        fullest[i] = std::max(fullest[i], live[s]);
      }
    }
  }
  auto by_fullest = [&](int a, int b) {
    return fullest[a] != fullest[b] ? fullest[a] > fullest[b] : by_size(a, b);
  };

  MemoryLayout best = {std::vector<std::size_t>(ranges.size(), 0), order.empty() ? 0 : SIZE_MAX};
  auto attempt = [&](auto before) {
    std::vector<int> sorted = order;
    std::stable_sort(sorted.begin(), sorted.end(), before);
    MemoryLayout layout = place(ranges, sorted);
    if (layout.peak < best.peak) best = std::move(layout);
  };
  attempt(by_size);
  attempt(by_fullest);
  // Large plans are close to the bound already, and each order costs O(n^2).
  if (order.size() <= 4000) {
    attempt(by_area);
    attempt(by_length);
    attempt(by_start);
    attempt(by_end);
  }
  return best;
}

std::size_t largest_live_set(std::span<const LiveRange> ranges) {
  int steps = 0;
  for (const LiveRange& range : ranges) steps = std::max(steps, range.last + 1);
  std::vector<std::size_t> live(steps, 0);
  for (const LiveRange& range : ranges) {
    for (int s = range.first; s <= range.last; ++s) live[s] += aligned(range.bytes);
  }
  return live.empty() ? 0 : *std::max_element(live.begin(), live.end());
}

}  // namespace lockstep
