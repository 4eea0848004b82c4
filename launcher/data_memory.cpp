#include "launcher/data_memory.h"

#include <algorithm>

#include "core/base/error.h"
#include "core/base/hash.h"
#include "core/base/machine.h"
#include "dist/agree.h"
#include "dist/node_share.h"

namespace lockstep {
namespace {

constexpr std::int64_t kShuffledPart = 2, kEvaluatedPart = 8, kHeldPart = 8;
constexpr std::int64_t kLeastBlock = std::int64_t{64} << 10;

// What must be equal on all ranks before they share memory: each reads a part of it, from its own files. Of data that is
// soon read the values count; of more, how it is stored.
std::string identity_of(const Dataset& dataset) {
  constexpr std::size_t kSoonRead = std::size_t{64} << 20;
  const bool small = dataset.bytes() <= kSoonRead;
  std::string out = text(dataset.size(), " rows in ", dataset.files().size(), " files");
  for (const DatasetArray& array : dataset.arrays()) {
    out += text(", ", array.name, ' ', name_of(array.dtype), ' ', array.sample);
  }
  return text(out, ", ", small ? "values " : "storage ",
              hex_of(small ? dataset.fingerprint_of_values() : dataset.fingerprint()));
}

// Which arrays of each dataset are held.
std::vector<std::vector<bool>> choose_held(const Config& config, const std::vector<std::shared_ptr<Dataset>>& datasets) {
  std::vector<std::vector<bool>> out;
  std::size_t all = 0;
  for (const auto& dataset : datasets) {
    out.emplace_back(dataset->arrays().size(), true);
    all += dataset->bytes_to_hold(out.back());
  }
  const auto memory = static_cast<std::size_t>(config.data.memory);
  if (config.data.cache == CacheKind::kMemory || (config.data.cache == CacheKind::kAuto && all <= memory)) {
    const std::size_t available = available_memory();
    if (all > available) {
      environment_failed(datasets.front()->files().front(), ": the data takes ", all / 1000000, " MB of memory, this machine has ",
                         available / 1000000, " MB available; set data.cache = \"auto\" and a lower data.memory");
    }
    return out;
  }
  for (std::size_t d = 0; d < datasets.size(); ++d) {
    const bool none = config.data.cache == CacheKind::kNone;
    out[d] = datasets[d]->smallest_within(none ? 0 : memory / kHeldPart);
  }
  return out;
}

}  // namespace

std::size_t bytes_of_block(const Config& config) {
  // Blocks are small enough for four of each lane in the memory that is shuffled.
  const std::int64_t lanes = config.microbatches(1);
  return static_cast<std::size_t>(std::clamp(config.data.memory / kShuffledPart / (4 * lanes), kLeastBlock,
                                             static_cast<std::int64_t>(kBlockBytes)));
}

void hold_data(const Config& config, Communicator& communicator, const std::vector<std::shared_ptr<Dataset>>& datasets,
               int threads) {
  if (communicator.size() > 1) {
    std::vector<Claim> claims;
    together(communicator, [&] {
      for (const auto& dataset : datasets) claims.push_back({"dataset " + dataset->files().front(), identity_of(*dataset)});
    });
    agree(communicator, claims);
  }
  std::vector<std::vector<bool>> held;
  std::size_t bytes = 0;
  together(communicator, [&] {
    held = choose_held(config, datasets);
    for (std::size_t d = 0; d < datasets.size(); ++d) bytes += datasets[d]->bytes_to_hold(held[d]);
  });
  if (bytes == 0) return;
  const NodeShare share = share_on_node(communicator, bytes);
  together(communicator, [&] {
    std::byte* at = share.memory.get();
    for (std::size_t d = 0; d < datasets.size(); ++d) {
      datasets[d]->hold(held[d], std::shared_ptr<std::byte>(share.memory, at));
      at += datasets[d]->bytes_to_hold(held[d]);
      datasets[d]->load(share.part, share.parts, threads);
    }
  });
}

std::int64_t blocks_of_group(const Config& config, const Dataset& dataset, std::int64_t microbatches) {
  std::size_t row = 0;
  for (std::size_t a = 0; a < dataset.arrays().size(); ++a) {
    if (!dataset.held(static_cast<int>(a))) row += dataset.arrays()[a].sample_bytes();
  }
  std::int64_t rows = 1;
  for (const RowBlock& block : dataset.blocks()) rows = std::max(rows, block.size());
  const std::int64_t block = std::max<std::int64_t>(1, rows * static_cast<std::int64_t>(row));
  return std::max<std::int64_t>(1, config.data.memory / kShuffledPart / (2 * microbatches * block));
}

std::size_t bytes_of_queue(const Config& config, bool training, int workers_of_node) {
  return static_cast<std::size_t>(config.data.memory / (training ? kShuffledPart : kEvaluatedPart) / workers_of_node);
}

}  // namespace lockstep
