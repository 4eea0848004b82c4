// lockstep plan CONFIG: what one worker will do in a step, before anything is trained.
#include <cstdio>
#include <iostream>
#include <nlohmann/json.hpp>

#include "core/base/error.h"
#include "dist/reduction_tree.h"
#include "launcher/commands.h"
#include "launcher/gpu_worker.h"
#include "launcher/log.h"
#include "launcher/setup.h"

namespace lockstep {
namespace {

// Rank 0 of a world that does not exist, all on one node: enough to compile for it.
class PlannedWorld final : public Communicator {
 public:
  explicit PlannedWorld(int size) : Communicator(std::vector<int>(size, 0), 0, true), size_(size) {}
  int rank() const override { return 0; }
  int size() const override { return size_; }

 private:
  void begin_exchange(std::span<const Send>, std::span<const Receive>) override { refuse(); }
  bool poll_exchange() override { return true; }
  void begin_borrow(std::span<const Send>, std::span<Borrow>, Lending) override { refuse(); }
  bool poll_borrow() override { return true; }
  void return_borrowed() override {}
  bool all_returned() override { return true; }
  std::string missing() const override { return {}; }
  [[noreturn]] static void refuse() { broken_invariant("a planned world does not communicate"); }

  int size_;
};

// Bytes that rank 0 sends in a step: the chunks of its partial sums that others own, and its new parameters.
double bytes_on_the_wire(const Training& training, int workers) {
  if (workers == 1) return 0;
  const double parts = static_cast<double>(
      covering_subtrees(piece_of(training.microbatches(), workers, 0)).size());
  double bytes = 0;
  for (const Bucket& bucket : updated_buckets(const_cast<Training&>(training).compiler().buckets())) {
    const double mine = static_cast<double>(bucket.chunk(0, workers).size());
    bytes += 4.0 * parts * (static_cast<double>(bucket.elements) - mine);
    bytes += 4.0 * mine * (workers - 1);
  }
  return bytes;
}

std::size_t bytes_of(const Plan& plan, const std::string& prefix, bool with_prefix) {
  std::size_t bytes = 0;
  for (const PlanValue& state : plan.states) {
    if (state.name.starts_with(prefix) == with_prefix) bytes += state.type.bytes();
  }
  return bytes;
}

std::int64_t trainable_parameters(const Training& training) {
  std::int64_t count = 0;
  for (const ParameterSpec& parameter : const_cast<Training&>(training).compiler().parameters()) {
    if (parameter.trainable) count += parameter.shape.elements();
  }
  return count;
}

nlohmann::ordered_json to_json(const Training& training, const Plan& plan, int workers) {
  nlohmann::ordered_json json = {{"workers", workers},
                                 {"microbatches", training.microbatches()},
                                 {"parameters", training.parameter_count()},
                                 {"trainable_parameters", trainable_parameters(training)},
                                 {"flops", plan.flops()},
                                 {"bytes_moved", plan.bytes_moved()},
                                 {"bytes_sent", bytes_on_the_wire(training, workers)},
                                 {"memory_bytes", memory_of(plan)},
                                 {"arena_bytes", plan.arena_bytes},
                                 {"state_bytes", plan.state_bytes()},
                                 {"input_bytes", plan.input_bytes()},
                                 {"steps", nlohmann::ordered_json::array()}};
  for (const Step& step : plan.steps) {
    json["steps"].push_back({{"name", step.name},
                             {"op", step.op},
                             {"kernel", step.kernel->name},
                             {"flops", step.flops},
                             {"bytes", step.bytes}});
  }
  return json;
}

void print_plan(const Training& training, const Plan& plan, int workers, const Model& model) {
  const auto size = [](double bytes) { return short_number(bytes) + "B"; };
  const auto line = [](const char* what, const std::string& value) {
    std::printf("  %-34s %s\n", what, value.c_str());
  };
  std::printf("%s\n%s\n", model.summary().c_str(), plan.to_string().c_str());
  std::printf("one step of worker 0 of %d: %zu kernels, %lld microbatches in all\n", workers,
              plan.steps.size(), static_cast<long long>(training.microbatches()));
  line("FLOPs", short_number(plan.flops()));
  line("bytes read and written", size(static_cast<double>(plan.bytes_moved())));
  line("bytes sent to other workers", size(bytes_on_the_wire(training, workers)));
  std::printf("peak memory of a worker: %s\n", size(static_cast<double>(memory_of(plan))).c_str());
  line("parameters and statistics",
       size(static_cast<double>(bytes_of(plan, "parameters/", true) + bytes_of(plan, "statistics/", true))));
  line("moments of the optimizer",
       size(static_cast<double>(bytes_of(plan, "parameters/", false) - bytes_of(plan, "statistics/", true))));
  line("one batch of inputs", size(static_cast<double>(plan.input_bytes())));
  line("arena (activations, gradients)", size(static_cast<double>(plan.arena_bytes)));
  line("  of which live at one time", size(static_cast<double>(plan.largest_live_bytes)));
}

}  // namespace

int run_command(const PlanCommand& command, const ProgramContext& context) {
  const ChosenDevice device = choose_device(command.device);
  const Config config = load_config(command.config, command.set);
  const int workers = command.workers > 0 ? static_cast<int>(command.workers) : context.environment.world.size;
  const int threads = static_cast<int>(config.run.threads);
  const auto worker = device.gpu == nullptr
                          ? std::make_unique<Worker>(std::make_unique<PlannedWorld>(workers), threads)
                          : std::make_unique<Worker>(std::make_unique<PlannedWorld>(workers), threads,
                                                     gpu_worker(device, {.any_shared = true}, config));
  const RunData data = open_run_data(config, *make_single_communicator());
  Training training(*worker, config, data, {command.print_after, command.disable_pass, &std::cout});
  const Plan& plan = training.training_plan();
  if (command.json) {
    std::printf("%s\n", to_json(training, plan, workers).dump(1).c_str());
  } else {
    print_plan(training, plan, workers, config.model.with_inputs(data.model_inputs));
    for (const PassTime& time : training.compiler().pass_times()) {
      std::printf("pass %-30s %8.3f ms\n", time.name.c_str(), time.seconds * 1e3);
    }
  }
  return kExitDone;
}

}  // namespace lockstep
