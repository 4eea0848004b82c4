#include "launcher/trainer.h"

#include <cstdio>

#include "core/base/error.h"
#include "launcher/gpu_worker.h"
#include "launcher/weights/initial_weights.h"

namespace lockstep {

std::map<std::string, double> scalar_metrics(const std::vector<MetricValue>& metrics) {
  std::map<std::string, double> out;
  for (const MetricValue& metric : metrics) {
    if (metric.shape.rank() == 0) out[metric.name] = metric.values.at(0);
  }
  return out;
}

namespace {

Config config_from(const Model& model, const TrainerOptions& options) {
  Config config;
  config.run.seed = options.seed;
  config.run.threads = options.threads;
  config.data.inputs = options.inputs;
  config.data.target = options.target;
  config.data.normalize = options.normalize;
  config.train.epochs = options.epochs;
  config.train.global_batch = options.global_batch;
  config.train.microbatches = options.microbatches;
  config.train.loss = Loss::make({.kind = options.loss, .label_smoothing = options.label_smoothing});
  config.train.optimizer = Optimizer::make(options.optimizer);
  config.train.learning_rate = Schedule(options.learning_rate);
  config.train.precision = options.bf16 ? TrainPrecision::kBF16 : TrainPrecision::kF32;
  config.train.clip_norm = options.clip_norm;
  config.train.initial_weights = options.initial_weights;
  config.evaluate.metrics = options.metrics;
  if (options.metrics.empty()) config.evaluate.metrics = default_metrics(task_of_loss(options.loss));
  config.model = model;
  check_input(options.epochs >= 1, "epochs: found ", options.epochs, ", expected 1 or more");
  check_input(options.global_batch >= 1, "global_batch: found ", options.global_batch,
              ", expected 1 or more");
  return config;
}

class EpochPrinter final : public FitObserver {
 public:
  explicit EpochPrinter(bool print) : print_(print) {}
  float last_loss = 0;

  void on_step(std::int64_t, std::int64_t, const StepResult& result) override {
    last_loss = result.loss;
  }
  void on_evaluation(const Evaluation& record) override {
    if (!print_) return;
    std::printf("epoch %lld: training loss %.4g", static_cast<long long>(record.epoch), last_loss);
    for (const auto& [name, value] : scalar_metrics(record.metrics)) {
      std::printf(", %s %.4g", name.c_str(), value);
    }
    std::printf("\n");
  }
  void on_checkpoint(std::int64_t, double) override {}

 private:
  bool print_;
};

}  // namespace

// What exists once the data is known.
struct Trainer::Session {
  Session(Worker& worker, const Config& config, RunData run_data)
      : data(std::move(run_data)), training(worker, config, data, {}) {
    training.initialize();
    if (config.train.initial_weights) begin_with_initial_weights(training);
  }
  RunData data;
  Training training;
};

Trainer::Trainer(const Model& model, const TrainerOptions& options,
                 std::unique_ptr<Communicator> communicator)
    : config_(config_from(model, options)) {
  if (!communicator) communicator = make_single_communicator();
  print_ = options.print && communicator->rank() == 0;
  const ChosenDevice device =
      choose_device(options.device, options.gpu_module.empty() ? gpu_module_path() : options.gpu_module);
  worker_ = device.gpu == nullptr
                ? std::make_unique<Worker>(std::move(communicator), options.threads)
                : std::make_unique<Worker>(std::move(communicator), options.threads, gpu_worker(device, {}, config_));
}

Trainer::~Trainer() = default;

float Trainer::fit(const Subset& train, const Subset& test) {
  if (!session_) {
    session_ = std::make_unique<Session>(*worker_, config_, run_data_from(config_, train, test));
  } else {
    session_->training.set_step(0);
  }
  EpochPrinter printer(print_);
  lockstep::fit(session_->training, {}, printer);
  return printer.last_loss;
}

Training& Trainer::training() {
  require(session_ != nullptr, "Trainer: fit() comes first");
  return session_->training;
}

std::map<std::string, double> Trainer::evaluate(const Subset& subset) {
  return scalar_metrics(training().evaluate(subset));
}

std::vector<float> Trainer::predict(const Subset& subset) {
  Training& trained = training();
  return trained.predict(*make_loader(config_, session_->data, subset, LoaderUse::kPrediction));
}

}  // namespace lockstep
