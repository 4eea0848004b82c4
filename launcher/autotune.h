// run.autotune: which algorithms of cuDNN and cuBLASLt a training uses is measured before its first step.
//
// One worker measures, the others take its choices, so that all compute the same bits (core/device/algorithm_cache.h).
// What was measured is kept in two files: the run's, with which it goes on however often it is resumed, and the user's, from
// which later trainings take the same choices, on any number of workers.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "core/device/algorithm_cache.h"
#include "dist/communicator.h"

namespace lockstep {

struct Autotuned {
  std::size_t measured = 0;  // problems, by all workers
  double seconds = 0;
};

// $XDG_CACHE_HOME/lockstep/algorithms, or that in ~/.cache; empty where there is neither.
std::string user_algorithms();

// All workers compute with the choices that rank 0 reads from these files, those of earlier files first. A broken one is
// passed over with a warning. All ranks call it.
void take_algorithms(Communicator& communicator, AlgorithmCache& algorithms, const std::vector<std::string>& files);

// After take_algorithms(): measures what is not known yet. `make_kernels` makes all kernels of this worker anew, by which it
// asks for their algorithms. At the end all workers have kernels with the same choices. All ranks call it.
Autotuned autotune(Communicator& communicator, AlgorithmCache& algorithms, const std::function<void()>& make_kernels);

// Keeps what is known in the user's file, with what others have put there meanwhile. Where that cannot be written, a warning.
void keep_for_user(AlgorithmCache& algorithms);

}  // namespace lockstep
