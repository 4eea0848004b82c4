// The emulator itself: barriers, collectives, and the order of queued work.
#include <cuda_pipeline_primitives.h>
#include <cuda_runtime.h>
#include <gtest/gtest.h>

#include <numeric>
#include <set>
#include <thread>
#include <vector>

#include "core/base/error.h"
#include "core/kernel/cuda_kernel.h"
#include "tests/emulator/emulated_device.h"

namespace lockstep {
namespace {

std::string error_of(const std::function<void()>& body) {
  try {
    body();
  } catch (const Error& error) {
    return error.what();
  }
  return "no error";
}

class EmulatorTest : public ::testing::Test {
 protected:
  // Numbers that kernels and the host may touch.
  template <typename T>
  struct Numbers {
    Numbers(EmulatedDevice& device, std::size_t count)
        : memory(device.allocate(count * sizeof(T), MemoryKind::kStaging)), count(count) {}
    T* data() const { return static_cast<T*>(memory.data()); }
    T* begin() const { return data(); }
    T* end() const { return data() + count; }
    T& operator[](std::size_t i) const { return data()[i]; }
    std::vector<T> values() const { return {begin(), end()}; }
    Memory memory;
    std::size_t count;
  };
  template <typename T>
  Numbers<T> numbers(std::size_t count) {
    return Numbers<T>(device_, count);
  }

  template <typename... Parameters, typename... Arguments>
  void run(dim3 blocks, dim3 threads, void (*kernel)(Parameters...), Arguments... arguments) {
    queue(StreamKind::kCompute, blocks, threads, kernel, arguments...);
    device_.synchronize();
  }
  template <typename... Parameters, typename... Arguments>
  void queue(StreamKind stream, dim3 blocks, dim3 threads, void (*kernel)(Parameters...), Arguments... arguments) {
    cudaLaunchConfig_t config = {};
    config.gridDim = blocks;
    config.blockDim = threads;
    config.stream = static_cast<cudaStream_t>(device_.stream(stream));
    check_cuda(cudaLaunchKernelEx(&config, kernel, arguments...), "launch");
  }

  EmulatedDevice device_;
};

// ---- Threads -------------------------------------------------------------------------------------

__global__ void count_threads(int* visits) {
  const unsigned thread = threadIdx.x + blockDim.x * (threadIdx.y + blockDim.y * threadIdx.z);
  const unsigned block = blockIdx.x + gridDim.x * (blockIdx.y + gridDim.y * blockIdx.z);
  ++visits[block * blockDim.x * blockDim.y * blockDim.z + thread];
}

TEST_F(EmulatorTest, EveryThreadOfEveryBlockRunsOnce) {
  for (const dim3 blocks : {dim3(1), dim3(7), dim3(8), dim3(3, 2, 5), dim3(1, 4)}) {
    for (const dim3 threads : {dim3(1), dim3(33), dim3(4, 3, 2), dim3(1024)}) {
      for (int launch = 0; launch < 3; ++launch) {  // each in another order
        const std::size_t count = std::size_t{blocks.x} * blocks.y * blocks.z * threads.x * threads.y * threads.z;
        const auto visits = numbers<int>(count);
        run(blocks, threads, count_threads, visits.data());
        EXPECT_EQ(visits.values(), std::vector<int>(count, 1));
      }
    }
  }
}

__global__ void write_order(int* counter, int* order) { order[blockIdx.x] = (*counter)++; }

TEST_F(EmulatorTest, BlocksDoNotRunInAscendingOrder) {
  std::vector<int> ascending(64);
  std::iota(ascending.begin(), ascending.end(), 0);
  const auto order = numbers<int>(64);
  for (int launch = 0; launch < 3; ++launch) {
    const auto counter = numbers<int>(1);
    run(64, 1, write_order, counter.data(), order.data());
    EXPECT_NE(order.values(), ascending);
    EXPECT_EQ(std::set<int>(order.begin(), order.end()).size(), 64u);
  }
}

TEST_F(EmulatorTest, WhatNoGpuLaunchesIsRefused) {
  const auto code = [&](dim3 blocks, dim3 threads) {
    return error_of([&] { run(blocks, threads, count_threads, static_cast<int*>(nullptr)); });
  };
  const std::string invalid = "launch: invalid configuration argument (cudaErrorInvalidConfiguration)";
  EXPECT_EQ(code(1, 1025), invalid);
  EXPECT_EQ(code(1, dim3(64, 17)), invalid);
  EXPECT_EQ(code(1, dim3(1, 1, 65)), invalid);
  EXPECT_EQ(code(0, 1), invalid);
  EXPECT_EQ(code(1, 0), invalid);
  EXPECT_EQ(code(dim3(1, 65536), 1), invalid);
  EXPECT_EQ(code(dim3(1, 1, 65536), 1), invalid);
}

TEST_F(EmulatorTest, KernelsRunOnAStream) {
  cudaLaunchConfig_t config = {};
  EXPECT_EQ(cudaLaunchKernelEx(&config, count_threads, static_cast<int*>(nullptr)), cudaErrorInvalidResourceHandle);
  EXPECT_EQ(cudaMemcpyAsync(nullptr, nullptr, 4, cudaMemcpyDefault, nullptr), cudaErrorInvalidResourceHandle);
}

__global__ void append_digit(int* number, int digit) { *number = *number * 10 + digit; }

struct Member {
  int number;
  const int* pointer;
};
__global__ void take_member(Member) {}

TEST_F(EmulatorTest, KernelsAreNotGivenMemoryOfTheHost) {
  static int of_the_program = 0;
  int on_the_stack = 0;
  const auto on_the_heap = std::make_unique<int>(0);
  const auto fine = numbers<int>(1);
  for (int* pointer : {&of_the_program, &on_the_stack, on_the_heap.get()}) {
    const auto found = [](const std::string& message) { return message.starts_with("a kernel is given the address 0x"); };
    EXPECT_PRED1(found, error_of([&] { run(1, 1, append_digit, pointer, 1); }));
    EXPECT_PRED1(found, error_of([&] { run(1, 1, take_member, Member{1, pointer}); }));
  }
  run(1, 1, take_member, Member{1, fine.data()});
  run(1, 1, take_member, Member{1, nullptr});
}

// ---- Barriers ------------------------------------------------------------------------------------

__global__ void rotate(int* data, int rounds) {
  __shared__ int shared[256];
  int mine = static_cast<int>(threadIdx.x);
  for (int round = 0; round < rounds; ++round) {
    shared[threadIdx.x] = mine;
    __syncthreads();
    mine = shared[(threadIdx.x + 1) % blockDim.x];
    __syncthreads();
  }
  data[blockIdx.x * blockDim.x + threadIdx.x] = mine;
}

TEST_F(EmulatorTest, ABarrierWaitsForAllThreads) {
  for (const unsigned threads : {1u, 31u, 32u, 96u, 250u, 256u}) {
    const auto data = numbers<int>(5 * threads);
    run(5, threads, rotate, data.data(), 3);
    for (unsigned i = 0; i < 5 * threads; ++i) ASSERT_EQ(data[i], static_cast<int>((i % threads + 3) % threads));
  }
}

__global__ void reverse_without_barrier(int* data) {
  __shared__ int shared[64];
  shared[threadIdx.x] = static_cast<int>(threadIdx.x);
  data[threadIdx.x] = shared[63 - threadIdx.x];
}

TEST_F(EmulatorTest, AMissingBarrierShows) {
  const auto data = numbers<int>(64);
  run(1, 64, reverse_without_barrier, data.data());
  bool right = true;
  for (int i = 0; i < 64; ++i) right = right && data[i] == 63 - i;
  EXPECT_FALSE(right);
}

__global__ void half_at_a_barrier(int* after) {
  if (threadIdx.x < 16) __syncwarp(0xffff);
  if (threadIdx.x >= 64) {
    __syncthreads();
    *after = 1;
  } else if (threadIdx.x >= 32) {
    __syncwarp();
    __syncthreads();
  }
}

__global__ void copy_beside(const int* from, int* before, int* after) {
  __shared__ int shared[64];
  shared[threadIdx.x] = -1;
  __pipeline_memcpy_async(&shared[threadIdx.x], from + threadIdx.x, sizeof(int));
  __pipeline_commit();
  before[threadIdx.x] = shared[threadIdx.x];
  __pipeline_wait_prior(0);
  after[threadIdx.x] = shared[threadIdx.x];
}

TEST_F(EmulatorTest, ACopyThatIsNotWaitedForLeavesTheOldValues) {
  const auto from = numbers<int>(64), before = numbers<int>(64), after = numbers<int>(64);
  std::iota(from.begin(), from.end(), 10);
  run(2, 64, copy_beside, from.data(), before.data(), after.data());
  EXPECT_EQ(before.values(), std::vector<int>(64, -1));
  EXPECT_EQ(after.values(), from.values());
}

TEST_F(EmulatorTest, ABarrierForAllThatHaveNotEnded) {
  const auto after = numbers<int>(1);
  const std::string message = error_of([&] { run(1, 128, half_at_a_barrier, after.data()); });
  EXPECT_NE(message.find("__syncthreads at two places"), std::string::npos) << message;
}

__global__ void end_or_wait(int* after) {
  if (threadIdx.x % 2 == 0) return;
  __syncthreads();
  ++*after;
}

TEST_F(EmulatorTest, ThreadsThatHaveEndedAreNotWaitedFor) {
  const auto after = numbers<int>(1);
  run(3, 100, end_or_wait, after.data());
  EXPECT_EQ(after[0], 150);
}

__global__ void barrier_against_warp() {
  if (threadIdx.x < 40) {
    __syncthreads();
  } else {
    __syncwarp();
  }
}

TEST_F(EmulatorTest, ABarrierThatSomeNeverReachIsFound) {
  const std::string message = error_of([&] { run(2, 64, barrier_against_warp); });
  EXPECT_NE(message.find(", 0, 0): of 64 threads"), std::string::npos) << message;
  EXPECT_TRUE(message.starts_with("a kernel hangs in block (")) << message;
  EXPECT_NE(message.find("40 wait in __syncthreads at "), std::string::npos) << message;
  EXPECT_NE(message.find("24 wait for their warp (mask 0xffffffff)"), std::string::npos) << message;
  // And the next kernel runs.
  const auto data = numbers<int>(64);
  run(1, 64, rotate, data.data(), 1);
  EXPECT_EQ(data[0], 1);
}

TEST_F(EmulatorTest, DevicesOfSeveralHostThreadsTakeTurns) {
  std::vector<std::thread> hosts;
  for (int host = 0; host < 3; ++host) {
    hosts.emplace_back([] {
      EmulatedDevice device;
      const Numbers<int> data(device, 5 * 64);
      for (int launch = 0; launch < 20; ++launch) {
        cudaLaunchConfig_t config = {};
        config.gridDim = 5;
        config.blockDim = 64;
        config.stream = static_cast<cudaStream_t>(device.stream(StreamKind::kCompute));
        check_cuda(cudaLaunchKernelEx(&config, rotate, data.data(), 3), "launch");
        device.synchronize();
        for (int i = 0; i < 5 * 64; ++i) ASSERT_EQ(data[i], (i % 64 + 3) % 64);
      }
    });
  }
  for (std::thread& host : hosts) host.join();
}

// ---- Collectives of a warp -------------------------------------------------------------------------

template <typename T>
__global__ void shuffles(T* out) {
  const T mine = static_cast<T>(threadIdx.x);
  T* results = out + threadIdx.x * 5;
  results[0] = __shfl_xor_sync(0xffffffffu, mine, 5);
  results[1] = __shfl_down_sync(0xffffffffu, mine, 3);
  results[2] = __shfl_up_sync(0xffffffffu, mine, 3);
  results[3] = __shfl_sync(0xffffffffu, mine, 7);
  results[4] = __shfl_down_sync(0xffffffffu, mine, 3, 8);
}

template <typename T>
void check_shuffles(const std::vector<T>& out) {
  for (int i = 0; i < 64; ++i) {
    const int warp = i / 32 * 32, lane = i % 32;
    ASSERT_EQ(out[i * 5 + 0], static_cast<T>(warp + (lane ^ 5)));
    ASSERT_EQ(out[i * 5 + 1], static_cast<T>(lane + 3 < 32 ? i + 3 : i));
    ASSERT_EQ(out[i * 5 + 2], static_cast<T>(lane >= 3 ? i - 3 : i));
    ASSERT_EQ(out[i * 5 + 3], static_cast<T>(warp + 7));
    ASSERT_EQ(out[i * 5 + 4], static_cast<T>(lane % 8 + 3 < 8 ? i + 3 : i));
  }
}

TEST_F(EmulatorTest, ShufflesMoveValues) {
  const auto check = [&]<typename T>(T) {
    const auto out = numbers<T>(64 * 5);
    run(1, 64, shuffles<T>, out.data());
    check_shuffles(out.values());
  };
  check(float{});
  check(int{});
  check(unsigned{});
  check(static_cast<long long>(0));
  check(double{});
}

__global__ void sums(float* out, const float* x) {
  const float sum = block_sum<256>(x[blockIdx.x * 256 + threadIdx.x]);
  const float most = block_max<256>(x[blockIdx.x * 256 + threadIdx.x]);
  if (threadIdx.x % 17 == 0) out[blockIdx.x] = sum;
  if (threadIdx.x == 255) out[gridDim.x + blockIdx.x] = most;
}

TEST_F(EmulatorTest, SumsOfBlocks) {
  const auto x = numbers<float>(4 * 256), out = numbers<float>(8);
  std::iota(x.begin(), x.end(), 0.0f);
  run(4, 256, sums, out.data(), static_cast<const float*>(x.data()));
  for (int block = 0; block < 4; ++block) {
    EXPECT_EQ(out[block], 256 * (256.0f * block + 127.5f));
    EXPECT_EQ(out[4 + block], 256 * block + 255);
  }
}

__global__ void ballots(unsigned* out) {
  const unsigned mask = threadIdx.x < 8 ? 0xffu : 0xffffff00u;
  out[threadIdx.x * 3] = __ballot_sync(mask, threadIdx.x % 2 == 0);
  out[threadIdx.x * 3 + 1] = __any_sync(mask, threadIdx.x == 3);
  out[threadIdx.x * 3 + 2] = __all_sync(mask, threadIdx.x < 8);
}

TEST_F(EmulatorTest, BallotsAreOfTheLanesInTheMask) {
  const auto out = numbers<unsigned>(32 * 3);
  run(1, 32, ballots, out.data());
  for (unsigned i = 0; i < 32; ++i) {
    EXPECT_EQ(out[i * 3], i < 8 ? 0x55u : 0x55555500u);
    EXPECT_EQ(out[i * 3 + 1], i < 8 ? 1u : 0u);
    EXPECT_EQ(out[i * 3 + 2], i < 8 ? 1u : 0u);
  }
}

__global__ void shuffle_in_a_branch(float* out) {
  if (threadIdx.x < 16) *out = __shfl_xor_sync(0xffffffffu, 1.0f, 1);
}
__global__ void shuffle_in_two_branches(float* out) {
  if (threadIdx.x < 16) {
    out[threadIdx.x] = __shfl_xor_sync(0xffffffffu, 1.0f, 1);
  } else {
    out[threadIdx.x] = __shfl_xor_sync(0xffffffffu, 2.0f, 1);
  }
}
__global__ void shuffle_outside_of_its_mask(float* out) { *out = __shfl_xor_sync(0xffffu, 1.0f, 1); }
__global__ void shuffle_from_nowhere(float* out) { *out = __shfl_xor_sync(0xffffffffu, 1.0f, 16); }

TEST_F(EmulatorTest, ShufflesInDivergentCode) {
  const auto out = numbers<float>(32);
  const auto message = [&](void (*kernel)(float*), unsigned threads) {
    return error_of([&] { run(1, threads, kernel, out.data()); });
  };
  // Lanes that have ended are not waited for, so 16 lanes meet; but a lane that never existed is not read.
  EXPECT_EQ(message(shuffle_in_a_branch, 32), "no error");
  std::string found = message(shuffle_in_two_branches, 32);
  EXPECT_NE(found.find("meet in different collectives"), std::string::npos) << found;
  found = message(shuffle_outside_of_its_mask, 32);
  EXPECT_NE(found.find("is not in the mask 0xffff"), std::string::npos) << found;
  found = message(shuffle_from_nowhere, 24);
  EXPECT_NE(found.find("which is not there"), std::string::npos) << found;
}

// ---- Memory --------------------------------------------------------------------------------------

__global__ void write_at(char* data, long long offset) { data[offset] = 1; }

TEST_F(EmulatorTest, TheHostDoesNotTouchMemoryOfTheDevice) {
  const Memory memory = device_.allocate(100);
  auto* data = static_cast<char*>(memory.data());
  run(1, 1, write_at, data, 99LL);
  char out = 0;
  device_.copy_out(&out, data + 99, 1);
  EXPECT_EQ(out, 1);
  device_.copy_out(&out, data + 98, 1);
  EXPECT_EQ(out, 0);
  EXPECT_DEATH(data[99] = 2, "perhaps the host touches memory of the emulated GPU");
  const Memory staging = device_.allocate(100, MemoryKind::kStaging);
  static_cast<char*>(staging.data())[99] = 2;
}

TEST_F(EmulatorTest, AKernelStaysInItsMemory) {
  const Memory memory = device_.allocate(4096);
  auto* data = static_cast<char*>(memory.data());
  EXPECT_DEATH(run(3, dim3(1, 2), write_at, data, 4096LL),
               "thread \\(0, [01], 0\\) of block \\([012], 0, 0\\) touches 0x[0-9a-f]+, which is not its memory");
}

// ---- Queued work -----------------------------------------------------------------------------------

class QueueTest : public EmulatorTest {
 protected:
  void digit(StreamKind stream, int digit) { queue(stream, 1, 1, append_digit, &number_, digit); }
  const Numbers<int> numbers_ = numbers<int>(1);
  int& number_ = numbers_[0];
};

TEST_F(QueueTest, NothingRunsBeforeSomebodyWaits) {
  digit(StreamKind::kCompute, 1);
  digit(StreamKind::kCompute, 2);
  EXPECT_EQ(number_, 0);
  device_.synchronize();
  EXPECT_EQ(number_, 12);
}

TEST_F(QueueTest, CopiesToAndFromTheHostComeAfterEverything) {
  const Memory memory = device_.allocate(4);
  auto* number = static_cast<int*>(memory.data());
  queue(StreamKind::kCommunication, 1, 1, append_digit, number, 7);
  int out = 0;
  device_.copy_out(&out, number, 4);
  EXPECT_EQ(out, 7);
  queue(StreamKind::kCompute, 1, 1, append_digit, number, 5);
  out = 1;
  device_.copy_in(number, &out, 4);
  device_.copy_out(&out, number, 4);
  EXPECT_EQ(out, 1);
}

TEST_F(QueueTest, AnEventIsWaitedForWithWhatItNeedsAndNothingElse) {
  const auto first = device_.make_event(), second = device_.make_event();
  digit(StreamKind::kCopy, 1);
  first->record(StreamKind::kCopy);
  digit(StreamKind::kCopy, 8);
  first->hold(StreamKind::kCompute);
  digit(StreamKind::kCompute, 2);
  second->record(StreamKind::kCompute);
  digit(StreamKind::kCompute, 9);
  EXPECT_FALSE(second->done());
  second->wait();
  EXPECT_TRUE(second->done());
  EXPECT_EQ(number_, 12);
}

TEST_F(QueueTest, StreamsAreOrderedByEventsAlone) {
  const auto event = device_.make_event();
  std::set<int> found;
  for (int i = 0; i < 3; ++i) {
    number_ = 0;
    digit(StreamKind::kCompute, 1);
    digit(StreamKind::kCommunication, 2);
    device_.synchronize();
    found.insert(number_);
    number_ = 0;
    digit(StreamKind::kCompute, 1);
    event->record(StreamKind::kCompute);
    event->hold(StreamKind::kCommunication);
    digit(StreamKind::kCommunication, 2);
    device_.synchronize();
    EXPECT_EQ(number_, 12);
  }
  EXPECT_EQ(found, (std::set<int>{12, 21}));
}

TEST_F(QueueTest, AStreamThatHurriesIsAheadOfTheOthers) {
  EmulatedDevice device(StreamKind::kCopy);
  const Numbers<int> numbers(device, 1);
  int& number = numbers[0];
  const auto launch = [&](StreamKind stream, int digit) {
    cudaLaunchConfig_t config = {};
    config.stream = static_cast<cudaStream_t>(device.stream(stream));
    check_cuda(cudaLaunchKernelEx(&config, append_digit, &number, digit), "launch");
  };
  const auto event = device.make_event();
  launch(StreamKind::kCompute, 1);
  launch(StreamKind::kCopy, 2);
  EXPECT_EQ(number, 2);
  event->record(StreamKind::kCompute);
  event->hold(StreamKind::kCopy);
  launch(StreamKind::kCopy, 3);
  EXPECT_EQ(number, 2);
  event->wait();
  EXPECT_EQ(number, 213);
}

// ---- Recordings ------------------------------------------------------------------------------------

TEST_F(QueueTest, ARecordingIsLaunchedAgain) {
  const Memory from = device_.allocate(4), to = device_.allocate(4);
  auto* number = static_cast<int*>(from.data());
  const auto forth = device_.make_event(), back = device_.make_event();
  const auto recording = device_.record([&] {
    queue(StreamKind::kCompute, 1, 1, append_digit, number, 1);
    forth->record(StreamKind::kCompute);
    forth->hold(StreamKind::kCommunication);
    queue(StreamKind::kCommunication, 1, 1, append_digit, number, 2);
    back->record(StreamKind::kCommunication);
    back->hold(StreamKind::kCompute);
    const Transfer transfer{to.data(), number, 4};
    device_.copy(StreamKind::kCompute, {&transfer, 1});
    check_cuda(cudaMemsetAsync(number, 0, 4, static_cast<cudaStream_t>(device_.stream(StreamKind::kCompute))), "memset");
  });
  int out = -1;
  device_.copy_out(&out, to.data(), 4);
  EXPECT_EQ(out, 0);
  for (const int start : {0, 3, 4}) {
    device_.copy_in(number, &start, 4);
    recording->launch();
    device_.copy_out(&out, to.data(), 4);
    EXPECT_EQ(out, start * 100 + 12);
  }
  queue(StreamKind::kCompute, 1, 1, append_digit, number, 5);  // the order of the compute stream
  recording->launch();
  recording->launch();
  device_.copy_out(&out, to.data(), 4);
  EXPECT_EQ(out, 12);
}

TEST_F(QueueTest, ARecordingTimesItsParts) {
  const auto begin = device_.make_event(true), end = device_.make_event(true);
  const auto recording = device_.record([&] {
    begin->record(StreamKind::kCompute);
    digit(StreamKind::kCompute, 1);
    end->record(StreamKind::kCompute);
  });
  recording->launch();
  device_.synchronize();
  EXPECT_TRUE(end->done());
  EXPECT_GT(end->seconds_since(*begin), 0);
}

TEST_F(QueueTest, WhatCannotBeRecordedIsRefused) {
  const Memory memory = device_.allocate(4);
  const auto message = [&](const std::function<void()>& work) { return error_of([&] { device_.record(work); }); };
  int host = 0;
  EXPECT_EQ(message([&] { device_.copy_in(memory.data(), &host, 4); }), "a copy from the host in a recording");
  EXPECT_EQ(message([&] { device_.copy_out(&host, memory.data(), 4); }), "a copy to the host in a recording");
  EXPECT_EQ(message([&] { device_.synchronize(); }), "waiting for the device in a recording");
  EXPECT_EQ(message([&] { device_.allocate(4); }), "allocating memory in a recording");
  const auto event = device_.make_event();
  event->record(StreamKind::kCompute);
  EXPECT_EQ(message([&] { event->wait(); }), "waiting for an event in a recording");
  EXPECT_EQ(message([&] { event->hold(StreamKind::kCompute); }), "a recording waits for an event from outside of it");
  EXPECT_EQ(message([&] { digit(StreamKind::kCopy, 1); }),
            "work in a recording is launched on a stream that waits for nothing in it");
  EXPECT_EQ(message([&] {
              event->record(StreamKind::kCompute);
              event->hold(StreamKind::kCopy);
              digit(StreamKind::kCopy, 1);
            }),
            "a recording ends before all that was launched on its stream 2 is waited for");
  EXPECT_EQ(error_of([&] { event->wait(); }), "waiting for an event that was recorded in a recording");
  device_.synchronize();
}

}  // namespace
}  // namespace lockstep
