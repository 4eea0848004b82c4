#include "dist/communicator.h"

#include <cstdint>
#include <cstring>

#include "core/base/error.h"

namespace lockstep {

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
  int rank() const override { return 0; }
  int size() const override { return 1; }
  void exchange(std::span<const Send> sends, std::span<const Receive> receives,
                const char* what) override {
    require(sends.empty() && receives.empty(), what, ": a world of one has nobody to talk to");
  }
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

}  // namespace lockstep
