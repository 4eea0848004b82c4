#include "launcher/setup.h"

#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <thread>

#include "core/base/error.h"
#include "core/base/file.h"
#include "core/base/hash.h"
#include "dist/agree.h"
#include "launcher/config_difference.h"
#include "launcher/gpu_worker.h"
#include "launcher/toml.h"
#include "ops/register.h"

namespace lockstep {

Config load_config(const std::string& path, const std::vector<std::string>& overrides) {
  LayerRegistry layers;
  register_layers(layers);
  const auto root = read_toml(path, overrides);
  return read_config(*root, layers);
}

namespace {

std::string hash_of_program() {
  const std::string bytes = local_files().read("/proc/self/exe");
  return hex_of(xxh3(std::as_bytes(std::span(bytes))));
}

// What the Plans of all ranks must have in common: buckets, parameters, microbatches.
std::string hash_of_exchange(Training& training) {
  std::string all = text("microbatches ", training.microbatches(), '\n');
  for (const Bucket& bucket : training.compiler().buckets()) {
    all += text(bucket.state, ' ', bucket.elements, ' ', bucket.momentum, '\n');
    for (const BucketSlot& slot : bucket.slots) {
      all += text(slot.name, ' ', slot.shape, ' ', slot.offset, ' ', slot.decays, '\n');
    }
  }
  return hex_of(xxh3(std::as_bytes(std::span(all))));
}

// Throws on all ranks, naming rank and key, where their configurations differ.
void agree_on_configuration(Communicator& communicator, const Config& config) {
  const std::vector<std::string> all = gather_texts(communicator, config.toml, "comparison of the ranks");
  // The configuration of most ranks; among equals that of the lowest.
  const std::string* common = &all[0];
  for (const std::string& one : all) {
    if (std::ranges::count(all, one) > std::ranges::count(all, *common)) common = &one;
  }
  for (std::size_t rank = 0; rank < all.size(); ++rank) {
    if (all[rank] == *common) continue;
    const ConfigDifference found = difference_of(all[rank], *common);
    throw SharedError(ErrorKind::kBadInput,
                      text("the workers disagree on the configuration: rank ", rank, " has ", found.key, " = ",
                           found.first, ", most others have ", found.second,
                           "; start all with the same file and the same --set"));
  }
}

// agree() with what to do about it.
void agree_or(Communicator& communicator, const Claim& claim, const char* remedy) {
  try {
    agree(communicator, {claim});
  } catch (const SharedError& error) {
    throw SharedError(error.kind(), text(error.what(), "; ", remedy));
  }
}

// Whether every rank says `word`.
bool all_say(Communicator& communicator, const std::string& mine, const std::string& word) {
  const std::vector<std::string> all = gather_texts(communicator, mine, "choice of the device");
  return std::ranges::all_of(all, [&](const std::string& said) { return said == word; });
}

// Divides GPUs and cores of the hosts among the workers, and makes this one.
void make_worker(Setup& setup, std::unique_ptr<Communicator> communicator, const ChosenDevice& device) {
  PlacementOptions placement{.threads = static_cast<int>(setup.config.run.threads),
                             .may_share_gpu = setup.config.run.share_gpu};
  if (device.gpu != nullptr) placement.gpus = visible_gpus(*device.gpu);
  setup.places = place_workers(*communicator, placement);
  if (communicator->rank() == 0 && communicator->size() > 1) {
    for (const std::string& host : oversubscribed_hosts(setup.places, placement.threads)) {
      std::fprintf(stderr, "lockstep: warning: %s\n", host.c_str());
    }
  }
  if (device.gpu == nullptr) {
    setup.worker = std::make_unique<Worker>(std::move(communicator), placement.threads);
    return;
  }
  WorkerDevice gpu;
  together(*communicator, [&] {
    gpu = gpu_worker(device, gpu_place(setup.places, communicator->rank()), setup.config);
  });
  setup.worker = std::make_unique<Worker>(std::move(communicator), placement.threads, std::move(gpu));
}

// run.autotune, on a device whose kernels have a choice.
void choose_algorithms(Setup& setup, const SetupOptions& options) {
  Communicator& communicator = setup.worker->communicator();
  AlgorithmCache* const algorithms = setup.worker->device().algorithms();
  if (algorithms == nullptr || !setup.config.run.autotune) return;
  take_algorithms(communicator, *algorithms, {options.kept_algorithms, user_algorithms()});
  if (!options.compile_training) return;
  setup.autotuned = autotune(communicator, *algorithms, [&] { setup.training->make_kernels(); });
  if (setup.autotuned.measured > 0 && communicator.rank() == 0) keep_for_user(*algorithms);
}

}  // namespace

void refuse_before_joining(const Environment& environment, ErrorKind kind, const std::string& message) {
  if (environment.rank == 0) throw Error(kind, message);
  std::this_thread::sleep_for(std::chrono::seconds(2));
  throw ToldError(kind, message);
}

std::unique_ptr<Communicator> join_world(const Environment& environment, double deadline) {
  const PromisedWorld& world = environment.world;
  if (environment.lacks_pmi) {
    refuse_before_joining(environment, ErrorKind::kEnvironment,
                          text(world.launcher, " started ", world.size, " processes, but without PMIx MPI sees 1: each "
                               "would train alone. Start with srun --mpi=pmix (srun --mpi=list says what there is), or with "
                               "lockstep launch"));
  }
  return join_world(world, deadline);
}

std::unique_ptr<Setup> set_up(const SetupOptions& options, const Environment& environment) {
  auto setup = std::make_unique<Setup>();
  // The world needs the configuration's deadline, so a broken configuration is told after joining.
  std::exception_ptr broken;
  ChosenDevice device;
  try {
    device = choose_device(options.device);
    setup->why_cpu = device.why_cpu;
    setup->config = load_config(options.config_path, options.overrides);
    const bool open = setup->config.train.microbatches <= 0;
    if (open && !options.resumed_config.empty() && std::filesystem::exists(options.resumed_config)) {
      std::vector<std::string> overrides = options.overrides;
      const Config resumed = load_config(options.resumed_config, {});
      if (resumed.train.microbatches > 0) {
        overrides.push_back(text("train.microbatches=", resumed.train.microbatches));
      }
      setup->config = load_config(options.config_path, overrides);
    }
  } catch (...) {
    broken = std::current_exception();
  }
  const Config& config = setup->config;
  const int threads = static_cast<int>(config.run.threads);
  auto communicator = join_world(environment, config.run.deadline);
  const std::string kind = name_of(device.gpu == nullptr ? DeviceKind::kCpu : DeviceKind::kCuda);
  try {
    // Where one cannot take part, all meet on the CPU to hear why.
    if (!all_say(*communicator, broken ? "broken" : kind, name_of(DeviceKind::kCuda))) device.gpu = nullptr;
    make_worker(*setup, std::move(communicator), device);
  } catch (const SharedError& error) {  // all ranks know it, but there is no worker yet to tell it together
    refuse_before_joining(environment, error.kind(), error.what());
  }
  Worker& worker = *setup->worker;
  if (worker.world_size() > 1) {
    setup->watchdog = std::make_unique<Watchdog>(worker.communicator(), worker.progress(), config.run.deadline);
  }
  OpenOptions data{.need = options.need, .threads = threads};
  setup->guarded([&] {
    together(worker.communicator(), [&] {
      if (broken) std::rethrow_exception(broken);
      if (!options.kept_data.empty() && std::filesystem::exists(options.kept_data)) {
        data.record = read_data_record(options.kept_data);
      }
      for (const auto* sources : {&config.data.train, &config.data.test}) try_sources(*sources);
    });
    setup->data = open_run_data(config, worker.communicator(), data);
    together(worker.communicator(), [&] {
      setup->training = std::make_unique<Training>(worker, config, setup->data, options.pipeline);
    });
    Communicator& all = worker.communicator();
    agree_or(all, {"device", kind}, "make the GPUs of all hosts usable, or say --device cpu");
    agree_or(all, {"program", hash_of_program()}, "install the same build on all hosts");
    agree_on_configuration(all, config);
    agree_or(all, {"dataset", setup->data.record.fingerprint}, "give all of them the same files");
    choose_algorithms(*setup, options);  // or none do, as the configuration says
    together(all, [&] {
      if (options.compile_training) setup->training->training_plan();
    });
    agree_or(all, {"exchange", hash_of_exchange(*setup->training)},
             "they run on different processors or libraries; use equal machines");
    return 0;
  });
  return setup;
}

int Setup::guarded(const std::function<int()>& body) {
  try {
    return body();
  } catch (const SharedError& error) {
    if (worker->rank() == 0) {
      std::fflush(stdout);
      std::fprintf(stderr, "lockstep: %s\n", error.what());
    }
    if (worker->world_size() > 1) barrier(worker->communicator(), "telling an error");
    throw ToldError(error.kind(), error.what());
  } catch (const LateError& error) {
    if (watchdog) watchdog->fail_late(error.what());
    throw;
  } catch (const std::exception& error) {
    if (watchdog) watchdog->fail(error.what());
    throw;
  }
}

}  // namespace lockstep
