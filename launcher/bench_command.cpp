// lockstep bench allreduce: what the exchange of a training costs, size by size, against MPI_Allreduce and against
// memory, measured in turn in the same run.
//
// The exchange is the one of a step, bucket by bucket, each rank with one microbatch: from kLeastSharded bytes on the
// kernels of tree_reduce and gather_state on shared memory, as gradients and parameters; below tree_all_reduce, as loss
// and norm. The limit is what memory allows: the bytes that an exchange must at least read and write on each rank, copied
// by all ranks at once.
#include <algorithm>
#include <cstdio>
#include <functional>
#include <nlohmann/json.hpp>

#include "core/base/error.h"
#include "core/base/progress.h"
#include "dist/compile.h"
#include "dist/exchange_ops.h"
#include "launcher/commands.h"
#include "launcher/log.h"
#include "launcher/setup.h"
#include "launcher/worker.h"

namespace lockstep {
namespace {

constexpr std::int64_t kLeastSharded = 8192;
constexpr int kRounds = 9;             // of which the median counts
constexpr double kRoundSeconds = 0.05;

double now() { return static_cast<double>(monotonic_nanoseconds()) * 1e-9; }

double median(std::vector<double> values) {
  std::ranges::sort(values);
  return values[values.size() / 2];
}

// The exchange of a part of the buffer that is exchanged at a time: a bucket.
class BucketExchange {
 public:
  BucketExchange(Worker& worker, float* values, std::int64_t elements) : values_(values) {
    ExchangePlan plan{worker.world_size(), worker.rank(), worker.communicator().nodes(), {}};
    for (int r = 0; r < worker.world_size(); ++r) {
      // Whole cache lines, so that no two ranks write one.
      constexpr std::int64_t kLine = 16;
      const Range lines = piece_of((elements + kLine - 1) / kLine, worker.world_size(), r);
      plan.chunks.push_back({std::min(lines.begin * kLine, elements), std::min(lines.end * kLine, elements)});
    }
    chunk_ = values_ + plan.chunk().begin;
    sharded_ = elements * 4 >= kLeastSharded;
    const TensorType all{DType::kF32, {elements}, nullptr}, chunk{DType::kF32, {plan.chunk().size()}, nullptr};
    const std::vector<TensorType> gathered{all, chunk};
    const KernelRegistry& kernels = worker.kernels();
    reduce_ = sharded_ ? kernels.make({TreeReduceOp(plan, elements), {&all, 1}, {&chunk, 1}, worker.device()})
                       : kernels.make({TreeAllReduceOp(plan, elements), {&all, 1}, {&all, 1}, worker.device()});
    gather_ = kernels.make({GatherStateOp(plan), gathered, {&all, 1}, worker.device()});
    workspace_ = worker.device().allocate(reduce_.workspace_bytes);
  }

  void run() const {
    void* in[] = {values_, chunk_};
    void* sum[] = {chunk_};
    void* out[] = {values_};
    reduce_.run({in, sharded_ ? sum : out, workspace_.data(), nullptr});
    if (sharded_) gather_.run({in, out, nullptr, nullptr});
  }

 private:
  float *values_, *chunk_ = nullptr;
  bool sharded_ = true;
  Kernel reduce_, gather_;
  Memory workspace_;
};

// One size, ready to be exchanged in place.
class Exchange {
 public:
  Exchange(Worker& worker, std::int64_t elements, std::int64_t bucket)
      : elements_(elements), memory_(worker.device().allocate(elements * sizeof(float), MemoryKind::kShared)) {
    for (std::int64_t at = 0; at < elements; at += bucket) {
      buckets_.emplace_back(worker, values() + at, std::min(bucket, elements - at));
    }
  }

  float* values() { return static_cast<float*>(memory_.data()); }
  void fill(float value) { std::fill_n(values(), elements_, value); }
  void run() {
    for (const BucketExchange& bucket : buckets_) bucket.run();
  }

 private:
  std::int64_t elements_;
  Memory memory_;
  std::vector<BucketExchange> buckets_;
};

struct Row {
  std::int64_t bytes = 0;
  double exchange = 0, mpi = 0, memory = 0;  // seconds
};

class Bench {
 public:
  // `fresh`: each rank writes its whole buffer before each call, as a backward pass does; the time of writing is
  // taken off.
  Bench(Worker& worker, const BenchAllReduceCommand& command)
      : worker_(worker), communicator_(worker.communicator()), fresh_(command.fresh),
        bucket_(command.bucket_bytes / static_cast<std::int64_t>(sizeof(float))) {}

  Row measure(std::int64_t bytes) {
    const std::int64_t elements = bytes / 4;
    Exchange exchange(worker_, elements, bucket_);
    check(exchange, elements);
    std::vector<float> plain(elements, 0.0f);
    // A rank reads all partial sums of its chunk and writes the sum; then it reads and writes the others' chunks.
    const double world = worker_.world_size();
    const auto copied = static_cast<std::size_t>(elements * (1 + 1 / world + 2 * (world - 1) / world) / 2);
    std::vector<float> from(copied, 1.0f), to(copied, 0.0f);
    const std::vector<Contender> contenders = {
        {exchange.values(), [&] { exchange.run(); }},
        {plain.data(), [&] { communicator_.fast_all_reduce(plain.data(), elements, "MPI_Allreduce"); }},
        {nullptr, [&] {
           copy_floats(to.data(), from.data(), copied);
           asm volatile("" : : "r"(to.data()) : "memory");  // the copy counts, though nobody reads it
         }}};
    exchange.fill(0);  // sums of zeros stay zeros: no infinities, no denormals
    std::vector<std::vector<double>> seconds(contenders.size());
    std::vector<int> repeats;
    for (const Contender& contender : contenders) repeats.push_back(repeats_of(contender, elements));
    for (int round = 0; round < kRounds; ++round) {
      for (std::size_t c = 0; c < contenders.size(); ++c) {
        seconds[c].push_back(timed(contenders[c], elements, repeats[c]));
      }
    }
    return {bytes, median(seconds[0]), median(seconds[1]), median(seconds[2])};
  }

 private:
  void check(Exchange& exchange, std::int64_t elements) {
    exchange.fill(static_cast<float>(worker_.rank() + 1));
    exchange.run();
    const auto expected = static_cast<float>(worker_.world_size() * (worker_.world_size() + 1) / 2);
    const bool right = std::all_of(exchange.values(), exchange.values() + elements,
                                   [expected](float value) { return value == expected; });
    require(right, "bench allreduce: a sum of ", elements, " elements is wrong");
  }

  struct Contender {
    float* written = nullptr;  // before each call, where calls are measured fresh
    std::function<void()> body;
  };

  // Seconds of one call, of the slowest rank.
  double timed(const Contender& contender, std::int64_t elements, int repeats) {
    const bool writes = fresh_ && contender.written != nullptr;
    double mine = loop(contender.body, writes ? contender.written : nullptr, elements, repeats);
    if (writes) mine -= loop([this] { barrier(communicator_, "barrier"); }, contender.written, elements, repeats);
    double slowest = 0;
    for (const auto& seconds : gather_doubles(communicator_, {mine}, "seconds")) {
      slowest = std::max(slowest, seconds.at(0));
    }
    return slowest;
  }

  // The first calls are not counted: they find in the caches what another contender left there.
  double loop(const std::function<void()>& body, float* written, std::int64_t elements, int repeats) {
    for (int i = 0; i < 3; ++i) body();
    barrier(communicator_, "barrier");
    const double begin = now();
    for (int i = 0; i < repeats; ++i) {
      if (written != nullptr) std::fill_n(written, elements, 0.0f);
      body();
    }
    return (now() - begin) / repeats;
  }

  int repeats_of(const Contender& contender, std::int64_t elements) {
    timed(contender, elements, 2);
    return std::clamp(static_cast<int>(kRoundSeconds / timed(contender, elements, 3)), 2, 20000);
  }

  Worker& worker_;
  Communicator& communicator_;
  const bool fresh_;
  const std::int64_t bucket_;  // elements
};

double rate(const Row& row, double seconds) { return static_cast<double>(row.bytes) / seconds / 1e9; }

void print_head(int world) {
  std::printf("%d workers; microseconds and GB/s of one all-reduce of float; limit: the same bytes copied\n", world);
  std::printf("%12s %12s %8s %12s %8s %12s %8s %8s\n", "bytes", "exchange", "GB/s", "MPI", "GB/s", "limit", "vs MPI",
              "of limit");
}

// A fresh call's time is a difference: of very small sizes it can drown in the noise, and then says nothing.
std::string cell(bool known, const char* format, double value) {
  char out[32] = "-";
  if (known) std::snprintf(out, sizeof(out), format, value);
  return out;
}

void print_row(const Row& row) {
  const bool exchange = row.exchange > 0, mpi = row.mpi > 0;
  std::printf("%12lld %12s %8s %12s %8s %12.2f %8s %8s\n", static_cast<long long>(row.bytes),
              cell(exchange, "%.2f", row.exchange * 1e6).c_str(), cell(exchange, "%.3f", rate(row, row.exchange)).c_str(),
              cell(mpi, "%.2f", row.mpi * 1e6).c_str(), cell(mpi, "%.3f", rate(row, row.mpi)).c_str(), row.memory * 1e6,
              cell(exchange && mpi, "%.2fx", row.mpi / row.exchange).c_str(),
              cell(exchange, "%.0f%%", 100 * row.memory / row.exchange).c_str());
  std::fflush(stdout);
}

}  // namespace

int run_command(const BenchAllReduceCommand& command, const ProgramContext& context) {
  Worker worker(join_world(context.environment, 300), 1);
  check_input(worker.world_size() > 1, "bench allreduce: one worker has nothing to exchange; start it under mpirun -n 2");
  const bool first = worker.rank() == 0;
  Bench bench(worker, command);
  nlohmann::ordered_json rows = nlohmann::ordered_json::array();
  if (first && !command.json) print_head(worker.world_size());
  for (std::int64_t bytes = command.min_bytes; bytes <= command.max_bytes; bytes *= 4) {
    const Row row = bench.measure(bytes);
    if (!first) continue;
    if (!command.json) print_row(row);
    rows.push_back({{"bytes", row.bytes},
                    {"exchange_seconds", row.exchange},
                    {"mpi_allreduce_seconds", row.mpi},
                    {"memory_seconds", row.memory}});
  }
  if (first && command.json) {
    std::printf("%s\n", nlohmann::ordered_json{{"workers", worker.world_size()}, {"all_reduce", rows}}.dump(2).c_str());
  }
  return kExitDone;
}

}  // namespace lockstep
