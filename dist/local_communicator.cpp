#include "dist/local_communicator.h"

#include <chrono>
#include <condition_variable>
#include <cstring>
#include <deque>
#include <mutex>

#include "core/base/error.h"

namespace lockstep {
namespace {

// Messages on their way, by sender and receiver.
struct Mail {
  explicit Mail(int world) : size(world), boxes(static_cast<std::size_t>(world) * world) {}
  std::deque<std::vector<std::byte>>& box(int from, int to) { return boxes[from * size + to]; }

  const int size;
  std::mutex mutex;
  std::condition_variable arrived;
  std::vector<std::deque<std::vector<std::byte>>> boxes;
};

class LocalCommunicator final : public Communicator {
 public:
  LocalCommunicator(std::shared_ptr<Mail> mail, int rank, double deadline)
      : mail_(std::move(mail)), rank_(rank), deadline_(deadline) {}

  int rank() const override { return rank_; }
  int size() const override { return mail_->size; }

  void exchange(std::span<const Send> sends, std::span<const Receive> receives,
                const char* what) override {
    std::unique_lock lock(mail_->mutex);
    for (const Send& send : sends) {
      if (send.bytes == 0) continue;
      const auto* bytes = static_cast<const std::byte*>(send.data);
      mail_->box(rank_, send.to).emplace_back(bytes, bytes + send.bytes);
    }
    mail_->arrived.notify_all();
    const auto until = std::chrono::steady_clock::now() + std::chrono::duration<double>(deadline_);
    for (const Receive& receive : receives) {
      if (receive.bytes == 0) continue;
      auto& box = mail_->box(receive.from, rank_);
      if (!mail_->arrived.wait_until(lock, until, [&] { return !box.empty(); })) {
        environment_failed(what, ": rank ", rank_, " waited ", deadline_, " s for rank ",
                           receive.from);
      }
      require(box.front().size() == receive.bytes, what, ": rank ", receive.from, " sent ",
              box.front().size(), " bytes, rank ", rank_, " expects ", receive.bytes);
      std::memcpy(receive.data, box.front().data(), receive.bytes);
      box.pop_front();
    }
  }

 private:
  std::shared_ptr<Mail> mail_;
  int rank_;
  double deadline_;
};

}  // namespace

std::vector<std::unique_ptr<Communicator>> make_local_world(int size, double deadline) {
  auto mail = std::make_shared<Mail>(size);
  std::vector<std::unique_ptr<Communicator>> out;
  for (int rank = 0; rank < size; ++rank) {
    out.push_back(std::make_unique<LocalCommunicator>(mail, rank, deadline));
  }
  return out;
}

}  // namespace lockstep
