#include "datasets/block_stream.h"

#include <algorithm>
#include <deque>
#include <limits>
#include <numeric>

#include "core/base/error.h"

namespace lockstep {

// Places of a lane are counted through all epochs here.

struct BlockStream::Slot {
  std::vector<std::vector<std::byte>> bytes;  // for each array
  std::int64_t first_row = 0;
};

namespace {

enum class PieceState { kWaiting, kReading, kThere };

struct OpenPiece {
  Range positions;
  std::int64_t first_place = -1;  // that needs it; -1: none does
  std::int64_t places_left = 0;
  PieceState state = PieceState::kWaiting;
  void* slot = nullptr;
};

}  // namespace

struct BlockStream::Group {
  Range places;                          // of the lane
  std::int64_t places_left = 0;          // that are needed and not released
  std::vector<std::int64_t> positions;   // by place
  std::vector<std::uint32_t> piece_at;   // by place
  std::vector<OpenPiece> pieces;
  std::vector<std::uint32_t> order;      // pieces in the order in which they are needed
  std::size_t claimed = 0, there = 0;    // how many of `order` are being read, and are there without a gap

  OpenPiece& piece(std::int64_t place) {
    return pieces[piece_at[static_cast<std::size_t>(place - places.begin)]];
  }
  // The piece to read next. REQUIRES: claimed < order.size().
  OpenPiece& unread() { return pieces[order[claimed]]; }
  const OpenPiece& unread() const { return pieces[order[claimed]]; }
};

struct BlockStream::Lane {
  std::int64_t number = 0, size = 0;
  std::int64_t places_each = 1;  // of a full batch
  Range needed;                  // places, from the start to the end of the stream
  std::int64_t epoch = 0;        // of the group to be opened next
  std::size_t next_group = 0;
  std::deque<std::unique_ptr<Group>> open;
  std::int64_t done_until = 0;  // place before which nothing is needed any more

  Group& group_at(std::int64_t place) {
    for (const auto& group : open) {
      if (place < group->places.end) return *group;
    }
    broken_invariant("place ", place, " of lane ", number, " is not in memory");
  }
  // Everything before that place is there.
  std::int64_t ready_until() {
    for (const auto& group : open) {
      while (group->there < group->order.size() && group->pieces[group->order[group->there]].state == PieceState::kThere) {
        ++group->there;
      }
      if (group->there < group->order.size()) return group->pieces[group->order[group->there]].first_place;
    }
    return open.empty() ? done_until : open.back()->places.end;
  }
};

struct BlockStream::Task {
  OpenPiece* piece = nullptr;
  Slot* slot = nullptr;
  Range coming = {};  // positions of the piece that is next in the lane; empty where there is none
};

BlockStream::BlockStream(const Subset& subset, const WindowOrder& order, BlockStreamOptions options)
    : subset_(subset), order_(order), options_(std::move(options)) {
  std::int64_t rows = 0;
  for (const RowBlock& block : subset_.dataset->blocks()) rows = std::max(rows, block.size());
  const auto row_bytes = [this](int array) {
    return subset_.dataset->arrays()[static_cast<std::size_t>(array)].sample_bytes();
  };
  rows += subset_.windows.span() - 1;
  for (const int array : options_.arrays) {
    slot_bytes_ += static_cast<std::size_t>(rows) * row_bytes(array);
  }
  std::size_t announced = 0;  // what the file cache should keep
  for (const int array : options_.expected) announced += static_cast<std::size_t>(rows) * row_bytes(array);
  most_slots_ = std::max<std::size_t>(2, options_.memory / std::max<std::size_t>(1, slot_bytes_ + announced));
}

BlockStream::~BlockStream() = default;

void BlockStream::start(std::int64_t epoch, std::int64_t batch, std::int64_t batches) {
  const std::lock_guard lock(mutex_);
  free_.clear();
  for (const auto& slot : slots_) free_.push_back(slot.get());
  lanes_.clear();
  coming_.clear();
  asked_for_ = number_of(epoch, batch);
  ends_at_ = batches < 0 ? -1 : asked_for_ + batches;
  for (std::int64_t number = options_.lanes.begin; number < options_.lanes.end; ++number) {
    auto lane = std::make_unique<Lane>();
    lane->number = number;
    lane->size = order_.lane_size(number);
    lane->epoch = epoch;
    lane->places_each = std::max<std::int64_t>(1, order_.places_of(number, 0).size());
    lane->needed = {epoch * lane->size + order_.places_of(number, batch).begin, std::numeric_limits<std::int64_t>::max()};
    if (ends_at_ >= 0) {
      const std::int64_t last_epoch = ends_at_ / order_.batches(), last_batch = ends_at_ % order_.batches();
      lane->needed.end = last_epoch * lane->size + (last_batch == 0 ? 0 : order_.places_of(number, last_batch).begin);
    }
    lane->done_until = lane->needed.begin;
    if (lane->size > 0) lanes_.push_back(std::move(lane));
  }
}

Range BlockStream::rows_of(Range positions) const {
  const auto& ids = subset_.ids;
  return {subset_.windows.first_row(ids[static_cast<std::size_t>(positions.begin)]),
          subset_.windows.first_row(ids[static_cast<std::size_t>(positions.end - 1)]) + subset_.windows.span()};
}

// False where the stream ends before.
bool BlockStream::open_next_group(Lane& lane) {
  while (true) {
    if (lane.epoch * lane.size >= lane.needed.end) return false;
    auto epoch = coming_.find(lane.epoch);
    if (epoch == coming_.end()) {
      // Epochs that all lanes have left behind are not needed any more.
      std::int64_t first = lane.epoch;
      for (const auto& other : lanes_) first = std::min(first, other->epoch);
      coming_.erase(coming_.begin(), coming_.lower_bound(first));
      epoch = coming_.emplace(lane.epoch, order_.groups(lane.epoch)).first;
    }
    const auto& groups = epoch->second[static_cast<std::size_t>(lane.number)];
    if (lane.next_group == groups.size()) {
      ++lane.epoch;
      lane.next_group = 0;
      continue;
    }
    const WindowOrder::Group& from = groups[lane.next_group++];
    const std::int64_t before = lane.epoch * lane.size;
    const Range places{before + from.places.begin, before + from.places.end};
    if (places.end <= lane.needed.begin) continue;
    if (places.begin >= lane.needed.end) return false;

    auto group = std::make_unique<Group>();
    group->places = places;
    group->positions.resize(static_cast<std::size_t>(places.size()));
    order_.fill(lane.epoch, lane.number, from, group->positions);
    for (const WindowOrder::Piece& piece : from.pieces) group->pieces.push_back({.positions = piece.positions});
    std::vector<std::uint32_t> by_position(from.pieces.size());
    std::iota(by_position.begin(), by_position.end(), 0u);
    const auto begin_of = [&from](std::uint32_t piece) { return from.pieces[piece].positions.begin; };
    std::ranges::sort(by_position, {}, begin_of);
    for (std::int64_t place = places.begin; place < places.end; ++place) {
      const std::int64_t position = group->positions[static_cast<std::size_t>(place - places.begin)];
      const std::uint32_t index = *(std::ranges::upper_bound(by_position, position, {}, begin_of) - 1);
      group->piece_at.push_back(index);
      if (place < lane.needed.begin || place >= lane.needed.end) continue;
      OpenPiece& piece = group->pieces[index];
      ++group->places_left;
      ++piece.places_left;
      if (piece.first_place >= 0) continue;
      piece.first_place = place;
      group->order.push_back(index);
    }
    lane.open.push_back(std::move(group));
    return true;
  }
}

// ---- Reading -----------------------------------------------------------------------------------

// The group of the lane that has the next piece to read; null where there is none, or not yet.
BlockStream::Group* BlockStream::unread_group(Lane& lane) {
  for (const auto& group : lane.open) {
    if (group->claimed < group->order.size()) return group.get();
  }
  constexpr std::size_t kGroupsOpen = 2;
  return lane.open.size() < kGroupsOpen && open_next_group(lane) ? lane.open.back().get() : nullptr;
}

bool BlockStream::claim(Task& task) {
  const std::lock_guard lock(mutex_);
  Lane* first_lane = nullptr;
  std::int64_t first_batch = 0;
  for (const auto& lane : lanes_) {
    const Group* const group = unread_group(*lane);
    if (group == nullptr) continue;
    const std::int64_t place = group->unread().first_place;
    const std::int64_t batch =
        number_of(place / lane->size, std::min(place % lane->size / lane->places_each, order_.batches() - 1));
    if (first_lane != nullptr && batch >= first_batch) continue;
    first_lane = lane.get();
    first_batch = batch;
  }
  if (first_lane == nullptr) return false;
  if (free_.empty()) {
    if (slots_.size() >= most_slots_ && first_batch > asked_for_) return false;
    slots_.push_back(std::make_unique<Slot>());
    free_.push_back(slots_.back().get());
  }
  Group& group = *unread_group(*first_lane);
  task.piece = &group.unread();
  ++group.claimed;
  task.slot = free_.back();
  free_.pop_back();
  task.piece->state = PieceState::kReading;
  const Group* const next = unread_group(*first_lane);
  if (next != nullptr) task.coming = next->unread().positions;
  return true;
}

void BlockStream::read(const Task& task, Dataset::Scratch& scratch) {
  const Range rows = rows_of(task.piece->positions);
  Slot& slot = *task.slot;
  slot.first_row = rows.begin;
  if (task.coming.size() > 0) {  // the disk works while this piece is decoded
    const Range coming = rows_of(task.coming);
    for (const int array : options_.arrays) subset_.dataset->expect(array, coming);
  }
  for (const int array : options_.expected) subset_.dataset->expect(array, rows);
  slot.bytes.resize(options_.arrays.size());
  for (std::size_t a = 0; a < options_.arrays.size(); ++a) {
    const int array = options_.arrays[a];
    const std::size_t bytes =
        static_cast<std::size_t>(rows.size()) * subset_.dataset->arrays()[static_cast<std::size_t>(array)].sample_bytes();
    if (slot.bytes[a].size() < bytes) slot.bytes[a].resize(bytes);
    subset_.dataset->read(array, rows, slot.bytes[a].data(), scratch);
    if (options_.check) options_.check(array, rows.begin, rows.size(), slot.bytes[a].data());
  }
}

bool BlockStream::read_one(Dataset::Scratch& scratch) {
  Task task;
  if (!claim(task)) return false;
  read(task, scratch);
  const std::lock_guard lock(mutex_);
  task.piece->slot = task.slot;
  task.piece->state = PieceState::kThere;
  return true;
}

bool BlockStream::ready(std::int64_t epoch, std::int64_t batch) {
  const std::lock_guard lock(mutex_);
  asked_for_ = number_of(epoch, batch);
  return std::ranges::all_of(lanes_, [&](const auto& lane) {
    return epoch * lane->size + order_.places_of(lane->number, batch).end <= lane->ready_until();
  });
}

// ---- Samples -----------------------------------------------------------------------------------

BlockStream::Lane* BlockStream::lane_of(std::int64_t number) {
  const auto found = std::ranges::find(lanes_, number, [](const auto& lane) { return lane->number; });
  return found == lanes_.end() ? nullptr : found->get();
}

void BlockStream::locate(std::int64_t epoch, std::int64_t batch, Range range, std::vector<Sample>& out) {
  out.resize(static_cast<std::size_t>(range.size()));
  const std::lock_guard lock(mutex_);
  for (std::int64_t i = range.begin; i < range.end; ++i) {
    Sample& sample = out[static_cast<std::size_t>(i - range.begin)];
    const WindowOrder::Place where = order_.place(batch, i);
    Lane* const lane = lane_of(where.lane);
    if (lane == nullptr) {
      order_.positions(epoch, batch, {i, i + 1}, std::span(&sample.position, 1));
      sample.bytes = nullptr;
      continue;
    }
    const std::int64_t place = epoch * lane->size + where.at;
    Group& group = lane->group_at(place);
    const OpenPiece& piece = group.piece(place);
    require(piece.state == PieceState::kThere, "a block is not in memory");
    const Slot& slot = *static_cast<const Slot*>(piece.slot);
    sample = {group.positions[static_cast<std::size_t>(place - group.places.begin)], &slot.bytes, slot.first_row};
  }
}

void BlockStream::release(std::int64_t epoch, std::int64_t batch, Range range) {
  const std::lock_guard lock(mutex_);
  for (std::int64_t i = range.begin; i < range.end; ++i) {
    const WindowOrder::Place where = order_.place(batch, i);
    Lane* const lane = lane_of(where.lane);
    if (lane == nullptr) continue;
    const std::int64_t place = epoch * lane->size + where.at;
    Group& group = lane->group_at(place);
    OpenPiece& piece = group.piece(place);
    --group.places_left;
    if (--piece.places_left > 0) continue;
    free_.push_back(static_cast<Slot*>(piece.slot));
    piece.slot = nullptr;
  }
  for (const auto& lane : lanes_) {
    while (!lane->open.empty() && lane->open.front()->places_left == 0) {
      lane->done_until = lane->open.front()->places.end;
      lane->open.pop_front();
    }
  }
}

}  // namespace lockstep
