#include "dist/communicator.h"

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstring>
#include <exception>

#include "core/base/error.h"
#include "core/base/lanes.h"

namespace lockstep {

// ---- Waiting -----------------------------------------------------------------------------------

Communicator::Communicator(std::vector<int> nodes, double deadline, bool may_spin)
    : nodes_(std::move(nodes)), deadline_(deadline), patience_(std::make_unique<Patience>(may_spin)) {}

template <typename Poll>
void Communicator::wait_for(const Poll& poll, const char* what) {
  if (poll()) return;
  using Clock = std::chrono::steady_clock;
  const auto start = Clock::now();
  for (unsigned turn = 0; !poll(); ++turn) {
    patience_->pause(turn);
    if (turn % 256 != 255) continue;
    const std::chrono::duration<double> waited = Clock::now() - start;
    if (waited.count() > deadline_) fail_late(what, waited.count());
  }
}

// What was begun is abandoned: the process ends after this.
void Communicator::fail_late(const char* what, double waited) const {
  throw LateError(ErrorKind::kEnvironment, text(what, ": rank ", rank(), " waited ", waited, " s (run.deadline is ",
                                                deadline_, ") for rank ", missing()));
}

namespace {

// Tells the watcher of one wait. One that fails has no end: the watcher sees who waited for whom.
class Reported {
 public:
  Reported(Progress* progress, const char* what, std::size_t bytes) : progress_(progress) {
    if (progress_ != nullptr) progress_->begin_collective(what, bytes);
  }
  ~Reported() {
    if (progress_ != nullptr && std::uncaught_exceptions() == exceptions_) progress_->end_collective();
  }

 private:
  Progress* progress_;
  const int exceptions_ = std::uncaught_exceptions();
};

template <typename List>
std::size_t bytes_in(const List& list) {
  std::size_t sum = 0;
  for (const auto& message : list) sum += message.bytes;
  return sum;
}

}  // namespace

void Communicator::exchange(std::span<const Send> sends, std::span<const Receive> receives,
                            const char* what) {
  const Reported reported(progress_, what, bytes_in(receives));
  begin_exchange(sends, receives);
  wait_for([this] { return poll_exchange(); }, what);
}

void Communicator::borrow(std::span<const Send> offers, std::span<Borrow> borrows, const char* what,
                          Lending lending) {
  const Reported reported(progress_, what, bytes_in(borrows));
  begin_borrow(offers, borrows, lending);
  wait_for([this] { return poll_borrow(); }, what);
}

void Communicator::give_back(const char* what) {
  return_borrowed();
  wait_for([this] { return all_returned(); }, what);
}

// ---- The fast collectives, where there is no library for them ----------------------------------

void Communicator::fast_reduce_scatter(const float* in, float* out, std::span<const std::size_t> offsets,
                                       const char* what) {
  const std::size_t count = offsets[rank() + 1] - offsets[rank()];
  std::vector<Send> sends;
  std::vector<Receive> receives;
  std::vector<float> arrived(count * size());
  for (int peer = 0; peer < size(); ++peer) {
    if (peer == rank()) continue;
    sends.push_back({peer, in + offsets[peer], (offsets[peer + 1] - offsets[peer]) * sizeof(float)});
    receives.push_back({peer, arrived.data() + peer * count, count * sizeof(float)});
  }
  exchange(sends, receives, what);
  std::copy_n(in + offsets[rank()], count, out);
  for (int peer = 0; peer < size(); ++peer) {
    if (peer == rank()) continue;
    for (std::size_t i = 0; i < count; ++i) out[i] += arrived[peer * count + i];
  }
}

void Communicator::fast_all_gather(float* data, std::span<const std::size_t> offsets, const char* what) {
  std::vector<std::size_t> bytes;
  for (const std::size_t offset : offsets) bytes.push_back(offset * sizeof(float));
  all_gather(*this, data, bytes, what);
}

void Communicator::fast_all_reduce(float* data, std::size_t count, const char* what) {
  std::vector<std::size_t> offsets{0};
  for (int r = 1; r <= size(); ++r) offsets.push_back(count * r / size());
  std::vector<float> mine(offsets[rank() + 1] - offsets[rank()]);
  fast_reduce_scatter(data, mine.data(), offsets, what);
  std::ranges::copy(mine, data + offsets[rank()]);
  fast_all_gather(data, offsets, what);
}

// ---- Collectives -------------------------------------------------------------------------------

void all_gather(Communicator& communicator, void* data, std::span<const std::size_t> offsets,
                const char* what) {
  const int world = communicator.size(), rank = communicator.rank();
  require(offsets.size() == static_cast<std::size_t>(world) + 1, what, ": ", offsets.size(),
          " offsets for ", world, " ranks");
  auto* bytes = static_cast<std::byte*>(data);
  constexpr int kInline = 64;
  Send sends[kInline];
  Receive receives[kInline];
  std::vector<Send> many_sends;
  std::vector<Receive> many_receives;
  Send* send = sends;
  Receive* receive = receives;
  if (world > kInline) {
    many_sends.resize(world);
    many_receives.resize(world);
    send = many_sends.data();
    receive = many_receives.data();
  }
  std::size_t count = 0;
  for (int peer = 0; peer < world; ++peer) {
    if (peer == rank) continue;
    send[count] = {peer, bytes + offsets[rank], offsets[rank + 1] - offsets[rank]};
    receive[count] = {peer, bytes + offsets[peer], offsets[peer + 1] - offsets[peer]};
    ++count;
  }
  communicator.exchange({send, count}, {receive, count}, what);
}

namespace {

// Every rank's bytes, by rank: first the lengths, then the contents.
std::vector<std::vector<std::byte>> gather_bytes(Communicator& communicator,
                                                 std::span<const std::byte> mine,
                                                 const char* what) {
  const int world = communicator.size();
  std::vector<std::uint64_t> lengths(world, 0);
  lengths[communicator.rank()] = mine.size();
  std::vector<std::size_t> offsets(world + 1);
  for (int r = 0; r <= world; ++r) offsets[r] = r * sizeof(std::uint64_t);
  all_gather(communicator, lengths.data(), offsets, what);
  offsets[0] = 0;
  for (int r = 0; r < world; ++r) offsets[r + 1] = offsets[r] + lengths[r];
  std::vector<std::byte> all(offsets[world]);
  if (!mine.empty()) {
    std::memcpy(all.data() + offsets[communicator.rank()], mine.data(), mine.size());
  }
  all_gather(communicator, all.data(), offsets, what);
  std::vector<std::vector<std::byte>> out;
  for (int r = 0; r < world; ++r) {
    out.emplace_back(all.begin() + offsets[r], all.begin() + offsets[r + 1]);
  }
  return out;
}

class SingleCommunicator final : public Communicator {
 public:
  SingleCommunicator() : Communicator({0}, 0, true) {}
  int rank() const override { return 0; }
  int size() const override { return 1; }

 private:
  void begin_exchange(std::span<const Send> sends, std::span<const Receive> receives) override {
    require(sends.empty() && receives.empty(), "a world of one has nobody to talk to");
  }
  bool poll_exchange() override { return true; }
  void begin_borrow(std::span<const Send> offers, std::span<Borrow> borrows, Lending) override {
    require(offers.empty() && borrows.empty(), "a world of one has nobody to borrow from");
  }
  bool poll_borrow() override { return true; }
  void return_borrowed() override {}
  bool all_returned() override { return true; }
  std::string missing() const override { return {}; }
};

}  // namespace

std::vector<std::vector<double>> gather_doubles(Communicator& communicator,
                                                const std::vector<double>& mine,
                                                const char* what) {
  std::vector<std::vector<double>> out;
  for (const auto& bytes : gather_bytes(communicator, std::as_bytes(std::span(mine)), what)) {
    std::vector<double> values(bytes.size() / sizeof(double));
    if (!bytes.empty()) std::memcpy(values.data(), bytes.data(), bytes.size());
    out.push_back(std::move(values));
  }
  return out;
}

std::vector<std::string> gather_texts(Communicator& communicator, const std::string& mine,
                                      const char* what) {
  std::vector<std::string> out;
  for (const auto& bytes : gather_bytes(communicator, std::as_bytes(std::span(mine)), what)) {
    out.emplace_back(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  }
  return out;
}

void barrier(Communicator& communicator, const char* what) {
  std::vector<std::byte> all(communicator.size());
  std::vector<std::size_t> offsets(communicator.size() + 1);
  for (std::size_t r = 0; r < offsets.size(); ++r) offsets[r] = r;
  all_gather(communicator, all.data(), offsets, what);
}

std::unique_ptr<Communicator> make_single_communicator() {
  return std::make_unique<SingleCommunicator>();
}

void copy_floats(float* to, const float* from, std::size_t count) {
  std::size_t i = 0;
  for (; i + 32 <= count; i += 32) {
    Float8 a, b, c, d;
    load(a, from + i);
    load(b, from + i + 8);
    load(c, from + i + 16);
    load(d, from + i + 24);
    store(to + i, a);
    store(to + i + 8, b);
    store(to + i + 16, c);
    store(to + i + 24, d);
  }
  for (; i < count; ++i) to[i] = from[i];
}

}  // namespace lockstep
