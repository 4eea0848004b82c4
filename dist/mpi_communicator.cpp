#include "dist/mpi_communicator.h"

#include <mpi.h>

#include <chrono>
#include <climits>
#include <set>

#include "core/base/error.h"

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

class MpiCommunicator final : public Communicator {
 public:
  explicit MpiCommunicator(double deadline) : deadline_(deadline) {
    int provided = 0;
    check_mpi(MPI_Init_thread(nullptr, nullptr, MPI_THREAD_FUNNELED, &provided), "MPI_Init_thread");
    check_mpi(MPI_Comm_set_errhandler(MPI_COMM_WORLD, MPI_ERRORS_RETURN),
              "MPI_Comm_set_errhandler");
    check_mpi(MPI_Comm_rank(MPI_COMM_WORLD, &rank_), "MPI_Comm_rank");
    check_mpi(MPI_Comm_size(MPI_COMM_WORLD, &size_), "MPI_Comm_size");
  }
  ~MpiCommunicator() override { MPI_Finalize(); }

  int rank() const override { return rank_; }
  int size() const override { return size_; }

  void exchange(std::span<const Send> sends, std::span<const Receive> receives,
                const char* what) override {
    requests_.clear();
    for (const Receive& receive : receives) {
      auto* bytes = static_cast<std::byte*>(receive.data);
      for_pieces(receive.bytes, [&](std::size_t offset, int count) {
        check_mpi(MPI_Irecv(bytes + offset, count, MPI_BYTE, receive.from, kTag, MPI_COMM_WORLD,
                            &requests_.emplace_back()),
                  "MPI_Irecv");
      });
    }
    for (const Send& send : sends) {
      const auto* bytes = static_cast<const std::byte*>(send.data);
      for_pieces(send.bytes, [&](std::size_t offset, int count) {
        check_mpi(MPI_Isend(bytes + offset, count, MPI_BYTE, send.to, kTag, MPI_COMM_WORLD,
                            &requests_.emplace_back()),
                  "MPI_Isend");
      });
    }
    wait(sends, receives, what);
  }

 private:
  // MPI counts in int.
  template <typename Body>
  static void for_pieces(std::size_t bytes, const Body& body) {
    constexpr std::size_t kPiece = std::size_t{1} << 30;
    for (std::size_t offset = 0; offset < bytes; offset += kPiece) {
      body(offset, static_cast<int>(std::min(kPiece, bytes - offset)));
    }
  }

  void wait(std::span<const Send> sends, std::span<const Receive> receives, const char* what) {
    using Clock = std::chrono::steady_clock;
    const auto start = Clock::now();
    const int count = static_cast<int>(requests_.size());
    int done = 0;
    for (unsigned turn = 1;; ++turn) {
      check_mpi(MPI_Testall(count, requests_.data(), &done, MPI_STATUSES_IGNORE), "MPI_Testall");
      if (done) return;
      if (turn % 1024 != 0) continue;
      const std::chrono::duration<double> waited = Clock::now() - start;
      if (waited.count() > deadline_) fail_late(sends, receives, what, waited.count());
    }
  }

  // The requests are abandoned: the process ends after this.
  [[noreturn]] void fail_late(std::span<const Send> sends, std::span<const Receive> receives,
                              const char* what, double waited) const {
    std::set<int> peers;
    for (const Send& send : sends) peers.insert(send.to);
    for (const Receive& receive : receives) peers.insert(receive.from);
    std::string names;
    for (const int peer : peers) names += (names.empty() ? "" : ", ") + std::to_string(peer);
    environment_failed(what, ": rank ", rank_, " waited ", waited, " s (run.deadline is ",
                       deadline_, ") for rank ", names);
  }

  double deadline_;
  int rank_ = 0, size_ = 1;
  std::vector<MPI_Request> requests_;
};

}  // namespace

std::unique_ptr<Communicator> make_mpi_communicator(double deadline) {
  return std::make_unique<MpiCommunicator>(deadline);
}

void abort_mpi_world(int exit_code) {
  int started = 0, finished = 0;
  MPI_Initialized(&started);
  MPI_Finalized(&finished);
  if (started && !finished) MPI_Abort(MPI_COMM_WORLD, exit_code);
}

}  // namespace lockstep
