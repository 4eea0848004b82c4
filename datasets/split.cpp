#include "datasets/split.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <numeric>

#include "core/base/error.h"
#include "datasets/shuffle.h"

namespace lockstep {
namespace {

std::int64_t test_count(std::int64_t count, double test_fraction) {
  check_input(test_fraction > 0.0 && test_fraction < 1.0, "split: the test part is ", test_fraction,
              ", expected more than 0 and less than 1");
  check_input(count >= 2, "split: ", count, " samples, expected at least 2");
  const std::int64_t wanted = std::llround(static_cast<double>(count) * test_fraction);
  return std::clamp<std::int64_t>(wanted, 1, count - 1);
}

void append(std::vector<std::int64_t>& to, const std::vector<std::int64_t>& from,
            std::int64_t begin, std::int64_t end) {
  to.insert(to.end(), from.begin() + begin, from.begin() + end);
}

// The first `tests` of `shuffled` become test samples.
void cut(const std::vector<std::int64_t>& shuffled, std::int64_t tests, Split& out) {
  append(out.test, shuffled, 0, tests);
  append(out.train, shuffled, tests, static_cast<std::int64_t>(shuffled.size()));
}

void sort_parts(Split& parts) {
  std::ranges::sort(parts.train);
  std::ranges::sort(parts.test);
}

}  // namespace

Split split(std::uint64_t seed, std::int64_t count, double test_fraction) {
  const std::int64_t tests = test_count(count, test_fraction);
  std::vector<std::int64_t> ids(static_cast<std::size_t>(count));
  std::iota(ids.begin(), ids.end(), std::int64_t{0});
  shuffle(RandomStream(seed, Purpose::kSplit), 0, 0, ids);
  Split out;
  cut(ids, tests, out);
  sort_parts(out);
  return out;
}

Split split_stratified(std::uint64_t seed, std::span<const std::int32_t> labels,
                       double test_fraction) {
  const auto count = static_cast<std::int64_t>(labels.size());
  const std::int64_t tests = test_count(count, test_fraction);
  std::map<std::int32_t, std::vector<std::int64_t>> by_label;
  for (std::int64_t i = 0; i < count; ++i)
    by_label[labels[static_cast<std::size_t>(i)]].push_back(i);

  // Every label gets the whole part of its share; what is missing to `tests` goes to the largest
  // remainders.
  struct Share {
    std::int32_t label;
    std::int64_t tests;
    double remainder;
  };
  std::vector<Share> shares;
  std::int64_t given = 0;
  const double fraction = static_cast<double>(tests) / static_cast<double>(count);
  for (const auto& [label, ids] : by_label) {
    const double share = static_cast<double>(ids.size()) * fraction;
    const auto whole = static_cast<std::int64_t>(share);
    shares.push_back({label, whole, share - static_cast<double>(whole)});
    given += whole;
  }
  std::ranges::stable_sort(shares, std::ranges::greater{}, &Share::remainder);
  for (std::size_t i = 0; given < tests; i = (i + 1) % shares.size()) {
    if (shares[i].tests == static_cast<std::int64_t>(by_label[shares[i].label].size())) continue;
    ++shares[i].tests;
    ++given;
  }

  Split out;
  for (const Share& share : shares) {
    std::vector<std::int64_t>& ids = by_label[share.label];
    shuffle(RandomStream(seed, Purpose::kSplit, static_cast<std::uint32_t>(share.label) + 1), 0, 0, ids);
    cut(ids, share.tests, out);
  }
  sort_parts(out);
  return out;
}

}  // namespace lockstep
