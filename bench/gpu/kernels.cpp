// Times single kernels of the GPU's module, by replays of recordings of many launches over buffers
// that no cache holds.
//
//   lockstep_gpu_kernels [--list] [--only bandwidth|product|convolution] [--precision
//   f32|bf16|tf32] [--name PART]
//                        [--first NUMBER] [--autotune]
//
// With --autotune the libraries' algorithms are measured before, as trainings do with run.autotune.
//
// Prints the rate of copies and then a line for each case (bench/gpu/case_list.h) with the seconds
// of a launch, or with "error". Exit code 3: a case left the GPU unusable for this process; another
// one can go on behind it with --first.
// --list needs no GPU.
#include <cstdio>
#include <cstdlib>

#include "bench/gpu/buffers.h"
#include "bench/gpu/case_list.h"
#include "bench/gpu/launch_timer.h"
#include "core/base/error.h"
#include "core/device/algorithm_cache.h"

namespace lockstep::bench {
namespace {

// What a copy in the device's memory reaches, bytes read and bytes written counted: the limit of
// all that moves bytes.
void time_copies(Device& device, Filler& filler) {
  constexpr std::int64_t kBytes = std::int64_t{1} << 30;
  const Memory from = device.allocate(kBytes), to = device.allocate(kBytes);
  filler.fill(from.at(0), {DType::kU8, {kBytes}}, 256, false);
  const Transfer transfer{to.data(), from.data(), kBytes};
  const auto tell = [](const char* name, double seconds) {
    print({{"group", "copy"}, {"name", name}, {"bytes", 2.0 * kBytes}, {"seconds", seconds}});
  };
  const auto by_kernel = [&](std::int64_t) { device.copy(StreamKind::kCompute, {&transfer, 1}); };
  tell("Device::copy, a kernel", time_launches(device, 1, by_kernel).seconds);
  const auto begin = device.make_event(true), end = device.make_event(true);
  for (const bool warm : {false, true}) {
    constexpr int kCopies = 20;
    begin->record(StreamKind::kCopy);
    for (int i = 0; i < kCopies; ++i) device.copy(StreamKind::kCopy, {&transfer, 1});
    end->record(StreamKind::kCopy);
    device.synchronize();
    if (warm) tell("cudaMemcpyAsync", end->seconds_since(*begin) / kCopies);
  }
}

void time_case(const Gpu& gpu, Filler& filler, const KernelCase& c, Json& line) {
  Device& device = *gpu.device;
  const Kernel kernel = gpu.kernels.make({*c.op, c.inputs, c.op->infer(c.inputs), device});
  line["kernel"] = kernel.name;
  check_input(!kernel.on_host, "the kernel computes on the host");
  const Buffers buffers(device, filler, c);
  const Memory workspace =
      device.allocate(kernel.workspace_bytes, MemoryKind::kPrivate, "workspace of a benchmark");
  void* stream = device.stream(StreamKind::kCompute);
  const LaunchTime time = time_launches(device, buffers.sets(), [&](std::int64_t i) {
    kernel.run(buffers.launch(i, workspace.data(), stream));
  });
  line["seconds"] = time.seconds;
  line["spread"] = time.spread;
}

void time_cases(const std::string& precision, const std::vector<ListedCase>& cases,
                bool with_copies, bool autotune) {
  constexpr double kAlways = 1e6;  // seconds
  const Gpu gpu = open_gpu(precision == "tf32");
  if (autotune) {
    gpu.device->algorithms()->take_fastest(true);
    gpu.device->algorithms()->measure_for(kAlways);
  }
  Filler filler(*gpu.device);
  if (with_copies) time_copies(*gpu.device, filler);
  for (const ListedCase& listed : cases) {
    if (listed.precision != precision) continue;
    Json line = described(listed);
    bool broken = false;
    try {
      time_case(gpu, filler, listed.what, line);
    } catch (const std::exception& error) {
      line["error"] = error.what();
      try {
        gpu.device->synchronize();
      } catch (const std::exception&) {
        broken = true;
      }
    }
    print(line);
    if (broken) std::_Exit(3);
  }
}

void run(const CaseChoice& choice) {
  const std::vector<ListedCase> cases = chosen_cases(choice);
  std::string precision;
  for (const ListedCase& listed : cases) {
    if (choice.list) {
      print(described(listed));
    } else if (listed.precision != precision) {
      time_cases(listed.precision, cases, precision.empty() && choice.first == 0, choice.autotune);
      precision = listed.precision;
    }
  }
}

}  // namespace
}  // namespace lockstep::bench

int main(int argc, char** argv) try {
  lockstep::bench::run(lockstep::bench::read_choice(argc, argv));
  return 0;
} catch (const std::exception& error) {
  std::fprintf(stderr, "lockstep_gpu_kernels: %s\n", error.what());
  return 1;
}
