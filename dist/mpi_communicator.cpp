#include "dist/mpi_communicator.h"

#include <mpi.h>

#include <algorithm>
#include <climits>
#include <set>
#include <thread>

#include "core/base/error.h"
#include "dist/node_memory.h"

namespace lockstep {
namespace {

constexpr int kTag = 1;

void check_mpi(int code, const char* call) {
  if (code == MPI_SUCCESS) return;
  char message[MPI_MAX_ERROR_STRING];
  int length = 0;
  MPI_Error_string(code, message, &length);
  environment_failed(call, ": ", std::string(message, length));
}

// MPI lives as long as this.
struct MpiWorld {
  int rank = 0, size = 1;

  MpiWorld() {
    int provided = 0;
    check_mpi(MPI_Init_thread(nullptr, nullptr, MPI_THREAD_SERIALIZED, &provided), "MPI_Init_thread");
    if (provided < MPI_THREAD_SERIALIZED) {
      environment_failed("this MPI library lets only one thread call it: Lockstep exchanges in a thread of its own");
    }
    check_mpi(MPI_Comm_set_errhandler(MPI_COMM_WORLD, MPI_ERRORS_RETURN), "MPI_Comm_set_errhandler");
    check_mpi(MPI_Comm_rank(MPI_COMM_WORLD, &rank), "MPI_Comm_rank");
    check_mpi(MPI_Comm_size(MPI_COMM_WORLD, &size), "MPI_Comm_size");
  }
  ~MpiWorld() { MPI_Finalize(); }
  MpiWorld(const MpiWorld&) = delete;
  MpiWorld& operator=(const MpiWorld&) = delete;

  // All ranks' values, by rank.
  std::vector<std::int64_t> gather(std::int64_t mine) const {
    std::vector<std::int64_t> all(size);
    check_mpi(MPI_Allgather(&mine, 1, MPI_INT64_T, all.data(), 1, MPI_INT64_T, MPI_COMM_WORLD),
              "MPI_Allgather");
    return all;
  }

  // The lowest rank with which each rank shares a machine, by rank.
  std::vector<std::int64_t> machines() const {
    MPI_Comm machine = MPI_COMM_NULL;
    check_mpi(MPI_Comm_split_type(MPI_COMM_WORLD, MPI_COMM_TYPE_SHARED, rank, MPI_INFO_NULL, &machine),
              "MPI_Comm_split_type");
    std::int64_t lowest = rank;
    check_mpi(MPI_Allreduce(MPI_IN_PLACE, &lowest, 1, MPI_INT64_T, MPI_MIN, machine), "MPI_Allreduce");
    MPI_Comm_free(&machine);
    return gather(lowest);
  }
};

// ---- The communicator ---------------------------------------------------------------------------

class MpiCommunicator final : public Communicator {
 public:
  MpiCommunicator(std::unique_ptr<MpiWorld> world, NodeMemory node, double deadline)
      : Communicator(node.nodes, deadline, fits_on_cores(node.nodes, world->rank)),
        world_(std::move(world)),
        heap_(std::move(node.heap)),
        neighbours_(std::move(node.neighbours)) {}

  int rank() const override { return world_->rank; }
  int size() const override { return world_->size; }
  SharedHeap* heap() override { return heap_.get(); }

  void fast_reduce_scatter(const float* in, float* out, std::span<const std::size_t> offsets,
                           const char* what) override {
    const std::vector<int> counts = counts_of(offsets);
    check_mpi(MPI_Ireduce_scatter(in, out, counts.data(), MPI_FLOAT, MPI_SUM, MPI_COMM_WORLD,
                                  &requests_.emplace_back()),
              "MPI_Ireduce_scatter");
    wait_for_collective(what);
  }

  // Blocking: it is measured against. The watchdog ends a process that hangs in it.
  void fast_all_reduce(float* data, std::size_t count, const char* what) override {
    check_count(count);
    check_mpi(MPI_Allreduce(MPI_IN_PLACE, data, static_cast<int>(count), MPI_FLOAT, MPI_SUM, MPI_COMM_WORLD), what);
  }

  void fast_all_gather(float* data, std::span<const std::size_t> offsets, const char* what) override {
    const std::vector<int> counts = counts_of(offsets);
    const std::vector<int> places(offsets.begin(), offsets.end() - 1);
    check_mpi(MPI_Iallgatherv(MPI_IN_PLACE, 0, MPI_FLOAT, data, counts.data(), places.data(), MPI_FLOAT,
                              MPI_COMM_WORLD, &requests_.emplace_back()),
              "MPI_Iallgatherv");
    wait_for_collective(what);
  }

 private:
  static bool fits_on_cores(const std::vector<int>& nodes, int rank) {
    return std::ranges::count(nodes, nodes[rank]) <= static_cast<int>(std::thread::hardware_concurrency());
  }

  static void check_count(std::size_t count) {
    check_input(count < static_cast<std::size_t>(INT_MAX), "the library's own reduction: ", count,
                " elements at a time are more than MPI counts");
  }

  static std::vector<int> counts_of(std::span<const std::size_t> offsets) {
    check_count(offsets.back());
    std::vector<int> counts;
    for (std::size_t r = 0; r + 1 < offsets.size(); ++r) {
      counts.push_back(static_cast<int>(offsets[r + 1] - offsets[r]));
    }
    return counts;
  }

  void wait_for_collective(const char* what) {
    peers_.assign(1, -1);
    exchange({}, {}, what);
  }

  bool is_near(int peer) const { return neighbours_ && neighbours_->has(peer); }

  void begin_exchange(std::span<const Send> sends, std::span<const Receive> receives) override {
    for (const Receive& receive : receives) {
      if (is_near(receive.from)) continue;
      auto* bytes = static_cast<std::byte*>(receive.data);
      for_pieces(receive.bytes, [&](std::size_t offset, int count) {
        peers_.push_back(receive.from);
        check_mpi(MPI_Irecv(bytes + offset, count, MPI_BYTE, receive.from, kTag, MPI_COMM_WORLD,
                            &requests_.emplace_back()),
                  "MPI_Irecv");
      });
    }
    for (const Send& send : sends) {
      if (is_near(send.to)) continue;
      const auto* bytes = static_cast<const std::byte*>(send.data);
      for_pieces(send.bytes, [&](std::size_t offset, int count) {
        peers_.push_back(send.to);
        check_mpi(MPI_Isend(bytes + offset, count, MPI_BYTE, send.to, kTag, MPI_COMM_WORLD,
                            &requests_.emplace_back()),
                  "MPI_Isend");
      });
    }
    if (neighbours_) neighbours_->begin_exchange(sends, receives);
  }

  bool poll_exchange() override {
    const bool near = !neighbours_ || neighbours_->poll_exchange();
    int far = 1;
    if (!requests_.empty()) {
      check_mpi(MPI_Testall(static_cast<int>(requests_.size()), requests_.data(), &far, MPI_STATUSES_IGNORE),
                "MPI_Testall");
    }
    if (!near || !far) return false;
    requests_.clear();
    peers_.clear();
    return true;
  }

  void begin_borrow(std::span<const Send> offers, std::span<Borrow> borrows, Lending lending) override {
    if (neighbours_) return neighbours_->begin_borrow(offers, borrows, lending);
    require(offers.empty() && borrows.empty(), "this rank has no neighbours to borrow from");
  }
  bool poll_borrow() override { return !neighbours_ || neighbours_->poll_borrow(); }
  void return_borrowed() override {
    if (neighbours_) neighbours_->return_borrowed();
  }
  bool all_returned() override { return !neighbours_ || neighbours_->all_returned(); }

  std::string missing() const override {
    std::string names = neighbours_ ? neighbours_->missing() : std::string();
    std::set<int> far;
    for (std::size_t i = 0; i < requests_.size(); ++i) {
      if (requests_[i] != MPI_REQUEST_NULL) far.insert(peers_[i]);
    }
    for (const int peer : far) {
      names += (names.empty() ? "" : ", ") + (peer < 0 ? std::string("some rank") : std::to_string(peer));
    }
    return names;
  }

  // MPI counts in int.
  template <typename Body>
  static void for_pieces(std::size_t bytes, const Body& body) {
    constexpr std::size_t kPiece = std::size_t{1} << 30;
    for (std::size_t offset = 0; offset < bytes; offset += kPiece) {
      body(offset, static_cast<int>(std::min(kPiece, bytes - offset)));
    }
  }

  std::unique_ptr<MpiWorld> world_;
  std::unique_ptr<SharedHeap> heap_;
  std::unique_ptr<Neighbours> neighbours_;
  std::vector<MPI_Request> requests_;  // under way; those with other nodes
  std::vector<int> peers_;             // of each; -1 for a collective
};

}  // namespace

std::unique_ptr<Communicator> make_mpi_communicator(double deadline) {
  auto world = std::make_unique<MpiWorld>();
  NodeMemory node = make_node_memory(world->rank, world->machines(),
                                     [&](std::int64_t mine) { return world->gather(mine); });
  return std::make_unique<MpiCommunicator>(std::move(world), std::move(node), deadline);
}

void abort_mpi_world(int exit_code) {
  int started = 0, finished = 0;
  MPI_Initialized(&started);
  MPI_Finalized(&finished);
  if (started && !finished) MPI_Abort(MPI_COMM_WORLD, exit_code);
}

}  // namespace lockstep
