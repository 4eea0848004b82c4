#include "tests/emulator/grid.h"

#include <algorithm>
#include <array>
#include <exception>
#include <map>
#include <memory>
#include <mutex>
#include <numeric>
#include <string>
#include <vector>

#include "core/base/error.h"
#include "tests/emulator/fiber.h"

constinit uint3 threadIdx{};
constinit uint3 blockIdx{};
constinit dim3 blockDim{};
constinit dim3 gridDim{};

namespace lockstep::emulator {
namespace {

class Grid;
constinit thread_local Grid* running_grid = nullptr;

constexpr unsigned kLanes = 32;
constexpr unsigned kMostThreads = 1024;

std::string place(const std::source_location& where) { return text(where.file_name(), ":", where.line()); }
// A kernel and all that it calls are of one source file, so the names are the same text too.
bool same_place(const std::source_location& a, const std::source_location& b) {
  return a.line() == b.line() && a.column() == b.column() && a.file_name() == b.file_name();
}
std::string to_string(const uint3& index) { return text("(", index.x, ", ", index.y, ", ", index.z, ")"); }
std::string hexadecimal(unsigned mask) {
  std::ostringstream out;
  out << "0x" << std::hex << mask;
  return out.str();
}

// The grid that this host thread runs.
class Grid {
 public:
  void run(dim3 grid, dim3 block, const std::function<void()>& thread, std::uint64_t number);

  void barrier(const std::source_location& where);
  std::uint64_t collective(const Contribution& contribution, const std::source_location& where);
  unsigned current() const { return current_; }

 private:
  enum class Waits : std::uint8_t { kNot, kBarrier, kCollective };
  struct Thread {
    Fiber* fiber = nullptr;  // where it waits
    Waits waits = Waits::kNot;
    Contribution contribution{};
    std::uint64_t result = 0;
    std::source_location where;
  };
  struct Warp {
    unsigned waiting = 0, exited = 0;  // lanes; waiting at a collective
  };

  void run_threads_here();
  Fiber* next_fiber();
  void go_on(Fiber& self);
  bool begin_thread();
  bool begin_block();
  void end_thread();
  void select(unsigned thread);
  void wait();
  void release_barrier();
  void complete_collectives(unsigned warp);
  bool complete(unsigned warp, unsigned lane);
  void schedule(unsigned first, unsigned count, unsigned lanes);
  [[noreturn]] void stuck();
  void forget_fibers();
  Fiber* idle_fiber();

  dim3 grid_, block_;
  const std::function<void()>* thread_ = nullptr;

  // Blocks: the next one is (first_block_ + stride_ * i) mod blocks_.
  std::uint64_t blocks_ = 0, block_number_ = 0, first_block_ = 0, stride_ = 1, order_ = 0;
  bool descending_ = false;  // in which order the threads of a block begin
  bool backwards_ = false;   // in which order they went on last

  // The block that runs.
  unsigned size_ = 0, started_ = 0, exited_ = 0, at_barrier_ = 0;
  std::source_location barrier_at_;
  std::array<Thread, kMostThreads> threads_;
  std::array<Warp, kMostThreads / kLanes> warps_;
  std::vector<unsigned> ready_;  // in the order in which they go on
  std::size_t next_ready_ = 0;

  unsigned current_ = 0;
  Fiber* here_ = nullptr;  // the fiber that runs
  Fiber host_;
  std::vector<std::unique_ptr<Fiber>> fibers_;
  std::vector<Fiber*> idle_;
  std::exception_ptr failure_;
};

void Grid::run(dim3 grid, dim3 block, const std::function<void()>& thread, std::uint64_t number) {
  grid_ = gridDim = grid;
  block_ = blockDim = block;
  thread_ = &thread;
  blocks_ = std::uint64_t{grid.x} * grid.y * grid.z;
  block_number_ = 0;
  // Launches that repeat each other with any period get all orders in the course of time.
  order_ = number * 0x9e3779b97f4a7c15u >> 32;
  backwards_ = order_ & 1u;
  // Descending, in strides of about 0.6 of the grid, or ascending from the middle.
  const std::uint64_t kind = order_ % 3;
  stride_ = kind == 0 ? blocks_ - 1 : (kind == 1 ? blocks_ * 5 / 8 + 1 : 1);
  while (std::gcd(stride_, blocks_) != 1) ++stride_;
  first_block_ = kind == 0 ? blocks_ - 1 : blocks_ / 2;
  size_ = started_ = exited_ = block.x * block.y * block.z;
  failure_ = nullptr;
  for (;;) {
    if (failure_ != nullptr) {
      forget_fibers();
      std::rethrow_exception(failure_);
    }
    if (Fiber* next = next_fiber()) {
      here_ = next;
      Fiber::go(host_, *next);
    } else if (exited_ == size_) {
      return;
    } else {
      stuck();
    }
  }
}

// What each fiber does: threads from their begin, as long as nobody else is to go on. One that meets no barrier takes no
// switch, so a kernel without any runs as a loop.
void Grid::run_threads_here() {
  for (;;) {
    try {
      while (begin_thread()) {
        (*thread_)();
        end_thread();
      }
    } catch (...) {
      failure_ = std::current_exception();
    }
    Fiber* self = here_;
    idle_.push_back(self);
    go_on(*self);
  }
}

// Who runs now: a thread that goes on, or a fiber that begins the next one; null where there is none, or no more to do.
Fiber* Grid::next_fiber() {
  if (failure_ != nullptr) return nullptr;
  if (next_ready_ < ready_.size()) {
    const unsigned next = ready_[next_ready_++];
    select(next);
    return threads_[next].fiber;
  }
  const bool more = started_ < size_ || (exited_ == size_ && block_number_ < blocks_);
  return more ? idle_fiber() : nullptr;
}

// `self`, the fiber that runs, stops for the next one, or for the host where there is none.
void Grid::go_on(Fiber& self) {
  Fiber* next = next_fiber();
  if (next == &self) return;
  here_ = next;
  Fiber::go(self, next != nullptr ? *next : host_);
}

bool Grid::begin_thread() {
  if (next_ready_ < ready_.size()) return false;
  if (started_ == size_ && !begin_block()) return false;
  select(descending_ ? size_ - 1 - started_ : started_);
  ++started_;
  return true;
}

bool Grid::begin_block() {
  if (exited_ != size_ || block_number_ == blocks_) return false;
  const std::uint64_t block = (first_block_ + stride_ * block_number_) % blocks_;
  blockIdx = {static_cast<unsigned>(block % grid_.x), static_cast<unsigned>(block / grid_.x % grid_.y),
              static_cast<unsigned>(block / grid_.x / grid_.y)};
  descending_ = (order_ >> 1 ^ block_number_) & 1u;
  ++block_number_;
  started_ = exited_ = 0;
  warps_.fill({});
  return true;
}

void Grid::select(unsigned thread) {
  current_ = thread;
  if (block_.x == size_) {
    threadIdx = {thread, 0, 0};
  } else {
    threadIdx = {thread % block_.x, thread / block_.x % block_.y, thread / block_.x / block_.y};
  }
}

void Grid::end_thread() {
  const unsigned warp = current_ / kLanes;
  warps_[warp].exited |= 1u << current_ % kLanes;
  ++exited_;
  if (warps_[warp].waiting != 0) complete_collectives(warp);
  if (at_barrier_ != 0 && at_barrier_ == size_ - exited_) release_barrier();
}

void Grid::wait() {
  threads_[current_].fiber = here_;
  go_on(*here_);
}

// Those of `count` threads from `first` on whose lane is in `lanes`, in an order that changes each time.
void Grid::schedule(unsigned first, unsigned count, unsigned lanes) {
  if (next_ready_ == ready_.size()) {
    ready_.clear();
    next_ready_ = 0;
  }
  backwards_ = !backwards_;
  for (unsigned i = 0; i < count; ++i) {
    const unsigned thread = first + (backwards_ ? count - 1 - i : i);
    if (lanes >> thread % kLanes & 1u && threads_[thread].waits != Waits::kNot) {
      threads_[thread].waits = Waits::kNot;
      ready_.push_back(thread);
    }
  }
}

void Grid::barrier(const std::source_location& where) {
  Thread& self = threads_[current_];
  self.waits = Waits::kBarrier;
  self.where = where;
  if (at_barrier_++ == 0) {
    barrier_at_ = where;
  } else if (!same_place(where, barrier_at_)) {
    broken_invariant("__syncthreads at two places: thread ", to_string(threadIdx), " of block ", to_string(blockIdx),
                     " at ", place(where), ", another at ", place(barrier_at_));
  }
  if (at_barrier_ == size_ - exited_) release_barrier();
  wait();
}

void Grid::release_barrier() {
  at_barrier_ = 0;
  schedule(0, size_, ~0u);
}

std::uint64_t Grid::collective(const Contribution& contribution, const std::source_location& where) {
  const unsigned warp = current_ / kLanes, lane = current_ % kLanes;
  if (!(contribution.mask >> lane & 1u)) {
    broken_invariant("thread ", to_string(threadIdx), " of block ", to_string(blockIdx), " at ", place(where),
                     " is not in the mask ", hexadecimal(contribution.mask), " of its warp's collective");
  }
  Thread& self = threads_[current_];
  self.waits = Waits::kCollective;
  self.contribution = contribution;
  self.where = where;
  warps_[warp].waiting |= 1u << lane;
  complete(warp, lane);
  wait();
  return self.result;
}

// After a lane has exited: others may have waited for it alone.
void Grid::complete_collectives(unsigned warp) {
  for (unsigned lane = 0; lane < kLanes; ++lane) {
    if (warps_[warp].waiting >> lane & 1u) complete(warp, lane);
  }
}

// Finishes the collective that the lane waits at, if everybody has come.
bool Grid::complete(unsigned warp, unsigned lane) {
  Thread* const lanes = &threads_[warp * kLanes];
  const Contribution& mine = lanes[lane].contribution;
  const unsigned outside = size_ - warp * kLanes < kLanes ? ~0u << (size_ - warp * kLanes) : 0u;
  const unsigned members = mine.mask & ~warps_[warp].exited & ~outside;
  if ((warps_[warp].waiting & members) != members) return false;
  std::uint64_t ballot = 0;
  for (unsigned i = 0; i < kLanes; ++i) {
    if (!(members >> i & 1u)) continue;
    const Contribution& theirs = lanes[i].contribution;
    if (theirs.kind != mine.kind || theirs.mask != mine.mask || !same_place(lanes[i].where, lanes[lane].where)) {
      broken_invariant("the lanes of a warp of block ", to_string(blockIdx), " meet in different collectives: lane ", lane,
                       " at ", place(lanes[lane].where), " with mask ", hexadecimal(mine.mask), ", lane ", i, " at ",
                       place(lanes[i].where), " with mask ", hexadecimal(theirs.mask));
    }
    if (theirs.value != 0) ballot |= 1u << i;
  }
  for (unsigned i = 0; i < kLanes; ++i) {
    if (!(members >> i & 1u)) continue;
    const unsigned source = lanes[i].contribution.source;
    if (mine.kind == Collective::kShuffle && !(members >> source & 1u)) {
      broken_invariant("lane ", i, " of a warp of block ", to_string(blockIdx), " at ", place(lanes[i].where),
                       " reads lane ", source, ", which is not there");
    }
    lanes[i].result = mine.kind == Collective::kShuffle ? lanes[source].contribution.value : ballot;
  }
  warps_[warp].waiting &= ~members;
  schedule(warp * kLanes, std::min(kLanes, size_ - warp * kLanes), members);
  return true;
}

void Grid::stuck() {
  std::map<std::string, unsigned> places;
  for (unsigned i = 0; i < size_; ++i) {
    const Thread& thread = threads_[i];
    const bool exited = warps_[i / kLanes].exited >> i % kLanes & 1u;
    if (exited) {
      ++places["have ended"];
    } else if (thread.waits == Waits::kBarrier) {
      ++places["wait in __syncthreads at " + place(thread.where)];
    } else {
      ++places["wait for their warp (mask " + hexadecimal(thread.contribution.mask) + ") at " + place(thread.where)];
    }
  }
  std::string found;
  for (const auto& [what, count] : places) found += text(found.empty() ? "" : ", ", count, " ", what);
  forget_fibers();
  broken_invariant("a kernel hangs in block ", to_string(blockIdx), ": of ", size_, " threads ", found);
}

void Grid::forget_fibers() {
  ready_.clear();
  next_ready_ = 0;
  at_barrier_ = 0;
  idle_.clear();
  for (Thread& thread : threads_) thread.waits = Waits::kNot;
  fibers_.clear();
}

Fiber* Grid::idle_fiber() {
  if (!idle_.empty()) {
    Fiber* fiber = idle_.back();
    idle_.pop_back();
    return fiber;
  }
  const auto entry = [](void* grid) { static_cast<Grid*>(grid)->run_threads_here(); };
  fibers_.push_back(std::make_unique<Fiber>(entry, this, static_cast<unsigned>(fibers_.size())));
  return fibers_.back().get();
}

}  // namespace

void run_grid(dim3 grid, dim3 block, const std::function<void()>& thread, std::uint64_t number) {
  static std::mutex one_at_a_time;  // shared memory of kernels is static
  const std::lock_guard lock(one_at_a_time);
  static thread_local Grid of_this_host_thread;  // with its fibers
  struct Running {
    explicit Running(Grid& grid) { running_grid = &grid; }
    ~Running() { running_grid = nullptr; }
  } const running(of_this_host_thread);
  of_this_host_thread.run(grid, block, thread, number);
}

const Place* running() {
  if (running_grid == nullptr) return nullptr;
  static thread_local Place place;
  place = {blockIdx, threadIdx};
  return &place;
}

void barrier(const std::source_location& where) { running_grid->barrier(where); }

std::uint64_t collective(const Contribution& contribution, const std::source_location& where) {
  return running_grid->collective(contribution, where);
}

unsigned lane() { return running_grid->current() % kLanes; }

}  // namespace lockstep::emulator
