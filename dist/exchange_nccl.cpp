// The home of NCCL. Part of the GPU's module.
//
// The communicator does not block the host (ncclConfig_t::blocking = 0): a call that cannot be done at once goes on in a thread of
// NCCL's, and is waited for here, with the deadline. That is so when ranks connect, at the start and at the first exchange of each
// kind; later ones are queued at once, or were recorded.
#include <nccl.h>
#include <sched.h>

#include <algorithm>
#include <cstring>
#include <thread>

#include "core/base/error.h"
#include "core/base/progress.h"
#include "core/device/cuda_device.h"
#include "dist/agree.h"
#include "dist/exchange_cuda.h"
#include "dist/gpu_exchange.h"

namespace lockstep {
namespace {

constexpr double kPatience = 10;  // seconds for the end of a communicator

std::string version_of_nccl() {
  int version = 0;
  if (ncclGetVersion(&version) != ncclSuccess) return "unknown";
  return text(version / 10000, ".", version % 10000 / 100, ".", version % 100);
}

void check_nccl(ncclResult_t code, const char* call) {
  if (code == ncclSuccess || code == ncclInProgress) return;
  const char* last = ncclGetLastError(nullptr);
  environment_failed(call, ": ", ncclGetErrorString(code), last != nullptr && last[0] != 0 ? ": " : "",
                     last != nullptr ? last : "");
}

double seconds_since(std::int64_t begin) { return static_cast<double>(monotonic_nanoseconds() - begin) * 1e-9; }

// Calls of one group: they are queued together. What one of them refuses is thrown after the end of the group.
class Group {
 public:
  Group() { check_nccl(ncclGroupStart(), "ncclGroupStart"); }
  void add(ncclResult_t code, const char* call) {
    if (failed_ != nullptr || code == ncclSuccess || code == ncclInProgress) return;
    failed_ = call;
    code_ = code;
  }
  // The result of the group, which may be in progress.
  ncclResult_t end() {
    const ncclResult_t code = ncclGroupEnd();
    if (failed_ != nullptr) check_nccl(code_, failed_);
    return code;
  }

 private:
  const char* failed_ = nullptr;
  ncclResult_t code_ = ncclSuccess;
};

// One NCCL communicator of all ranks.
class NcclTransport final : public GpuTransport {
 public:
  NcclTransport(CudaDevice& device, int rank, int world, double deadline)
      : device_(device), rank_(rank), world_(world), deadline_(deadline) {}

  // A communicator is destroyed in peace where all ranks come to their end, and given up where they do not.
  ~NcclTransport() override {
    if (comm_ == nullptr) return;
    ncclResult_t code = failed_ ? ncclInternalError : ncclCommFinalize(comm_);
    for (const std::int64_t begin = monotonic_nanoseconds(); code == ncclInProgress && seconds_since(begin) < kPatience;) {
      sched_yield();
      if (ncclCommGetAsyncError(comm_, &code) != ncclSuccess) code = ncclInternalError;
    }
    if (code == ncclSuccess) {
      ncclCommDestroy(comm_);
    } else {
      abandon();
    }
  }

  void connect(const ncclUniqueId& id) {
    device_.select();
    ncclConfig_t config = NCCL_CONFIG_INITIALIZER;
    config.blocking = 0;
    const ncclResult_t code = ncclCommInitRankConfig(&comm_, world_, id, rank_, &config);
    finish(code, "ncclCommInitRankConfig", "connection of the GPUs");
  }

  void exchange(std::span<const Send> sends, std::span<const Receive> receives, void* stream) override {
    begin();
    Group group;
    for (const Send& send : sends) {
      group.add(ncclSend(send.data, send.bytes, ncclInt8, send.to, comm_, on(stream)), "ncclSend");
    }
    for (const Receive& receive : receives) {
      group.add(ncclRecv(receive.data, receive.bytes, ncclInt8, receive.from, comm_, on(stream)), "ncclRecv");
    }
    finish(group.end(), "ncclGroupEnd", "exchange between GPUs");
  }

  void reduce_scatter(const float* in, float* out, std::span<const Range> chunks, void* stream) override {
    begin();
    if (are_equal(chunks)) {
      const auto count = static_cast<std::size_t>(chunks[0].size());
      const ncclResult_t code = ncclReduceScatter(in, out, count, ncclFloat, ncclSum, comm_, on(stream));
      return finish(code, "ncclReduceScatter", "reduction of gradients");
    }
    Group group;
    for (int owner = 0; owner < world_; ++owner) {
      const Range chunk = chunks[static_cast<std::size_t>(owner)];
      if (chunk.size() == 0) continue;
      group.add(ncclReduce(in + chunk.begin, owner == rank_ ? out : nullptr, static_cast<std::size_t>(chunk.size()), ncclFloat,
                           ncclSum, owner, comm_, on(stream)),
                "ncclReduce");
    }
    finish(group.end(), "ncclGroupEnd", "reduction of gradients");
  }

  void all_gather(float* data, std::span<const Range> chunks, void* stream) override {
    begin();
    if (are_equal(chunks)) {
      const auto count = static_cast<std::size_t>(chunks[0].size());
      const ncclResult_t code =
          ncclAllGather(data + chunks[static_cast<std::size_t>(rank_)].begin, data, count, ncclFloat, comm_, on(stream));
      return finish(code, "ncclAllGather", "gather of parameters");
    }
    Group group;
    for (int owner = 0; owner < world_; ++owner) {
      const Range chunk = chunks[static_cast<std::size_t>(owner)];
      if (chunk.size() == 0) continue;
      group.add(ncclBroadcast(data + chunk.begin, data + chunk.begin, static_cast<std::size_t>(chunk.size()), ncclFloat, owner,
                              comm_, on(stream)),
                "ncclBroadcast");
    }
    finish(group.end(), "ncclGroupEnd", "gather of parameters");
  }

  void all_reduce(float* data, std::size_t count, void* stream) {
    begin();
    const ncclResult_t code = ncclAllReduce(data, data, count, ncclFloat, ncclSum, comm_, on(stream));
    finish(code, "ncclAllReduce", "all-reduce of NCCL");
  }

  // What NCCL has noticed meanwhile, of this rank's part or of another's end.
  void look_for_errors() {
    if (comm_ == nullptr) return;
    ncclResult_t state = ncclSuccess;
    check_nccl(ncclCommGetAsyncError(comm_, &state), "ncclCommGetAsyncError");
    if (state == ncclSuccess || state == ncclInProgress) return;
    failed_ = true;
    check_nccl(state, "NCCL");
  }

  // The exchange is over: this rank goes on without it, to its end.
  [[noreturn]] void give_up(const char* what, double waited) {
    abandon();
    throw LateError(ErrorKind::kEnvironment, text(what, ": rank ", rank_, " waited ", waited, " s (run.deadline is ", deadline_,
                                                  ") for the GPUs of other ranks"));
  }

 private:
  static cudaStream_t on(void* stream) { return static_cast<cudaStream_t>(stream); }

  static bool are_equal(std::span<const Range> chunks) {
    return chunks[0].size() > 0 &&
           std::ranges::all_of(chunks, [&](const Range& chunk) { return chunk.size() == chunks[0].size(); });
  }

  void begin() const {
    require(comm_ != nullptr, "an exchange between GPUs after one that was given up");
    device_.select();
  }

  // Waits until the call is done, which begins with `code`.
  void finish(ncclResult_t code, const char* call, const char* what) {
    for (const std::int64_t begin = monotonic_nanoseconds(); code == ncclInProgress;) {
      sched_yield();
      check_nccl(ncclCommGetAsyncError(comm_, &code), "ncclCommGetAsyncError");
      const double waited = seconds_since(begin);
      if (code == ncclInProgress && waited > deadline_) give_up(what, waited);
    }
    if (code != ncclSuccess) failed_ = true;
    check_nccl(code, call);
  }

  // What runs on the GPUs is told to end. The rest of ncclCommAbort waits until all recordings of exchanges are gone, which
  // may be never: nobody waits for that.
  void abandon() {
    std::thread([comm = std::exchange(comm_, nullptr)] { ncclCommAbort(comm); }).detach();
  }

  CudaDevice& device_;
  const int rank_, world_;
  const double deadline_;
  ncclComm_t comm_ = nullptr;
  bool failed_ = false;
};

class NcclExchange final : public GpuExchange {
 public:
  NcclExchange(Communicator& communicator, CudaDevice& device, double deadline)
      : device_(device), deadline_(deadline), marks_(device), transport_(device, communicator.rank(), communicator.size(), deadline) {
    ncclUniqueId id{};
    together(communicator, [&] {
      device.select();
      if (communicator.rank() == 0) check_nccl(ncclGetUniqueId(&id), "ncclGetUniqueId");
    });
    const std::string mine(communicator.rank() == 0 ? std::string(id.internal, sizeof id.internal) : std::string());
    const std::string first = gather_texts(communicator, mine, "set-up of NCCL")[0];
    require(first.size() == sizeof id.internal, "set-up of NCCL: rank 0 sent ", first.size(), " bytes");
    std::memcpy(id.internal, first.data(), first.size());
    together(communicator, [&] { transport_.connect(id); });
    device.while_waiting([this](double waited) { look(waited); });
  }
  ~NcclExchange() override { device_.while_waiting({}); }

  std::string library() const override { return "NCCL " + version_of_nccl(); }
  void register_kernels(KernelRegistry& registry) override { register_exchange_cuda(registry, transport_, marks_); }
  void all_reduce(float* data, std::size_t count, void* stream) override { transport_.all_reduce(data, count, stream); }

 private:
  // Late is an exchange that has begun before the deadline, and for which the host has waited so long: what it waits for
  // may be something else, of this GPU alone, for less.
  void look(double waited) {
    const ExchangeMarks::Last last = marks_.last(monotonic_nanoseconds());
    transport_.look_for_errors();
    if (last.what != nullptr && std::min(waited, last.seconds) > deadline_) transport_.give_up(last.what, last.seconds);
  }

  CudaDevice& device_;
  const double deadline_;
  ExchangeMarks marks_;
  NcclTransport transport_;
};

}  // namespace
}  // namespace lockstep

extern "C" {

__attribute__((visibility("default"))) lockstep::GpuExchange* lockstep_make_nccl_exchange(
    lockstep::Communicator* communicator, lockstep::Device* device, double deadline, std::string*) {
  return new lockstep::NcclExchange(*communicator, dynamic_cast<lockstep::CudaDevice&>(*device), deadline);
}

__attribute__((visibility("default"))) void lockstep_nccl_version(std::string* version) {
  *version = lockstep::version_of_nccl();
}

}  // extern "C"
