// Runs a function on every rank of a local world, each in a thread of its own.
#pragma once

#include <exception>
#include <functional>
#include <thread>
#include <vector>

#include "dist/local_communicator.h"

namespace lockstep::testing {

// Rethrows the error of the lowest rank that threw.
inline void run_world(int size, const std::function<void(std::unique_ptr<Communicator>)>& body,
                      double deadline = 60, std::vector<int> nodes = {}) {
  auto world = make_local_world(size, deadline, std::move(nodes));
  std::vector<std::exception_ptr> failures(size);
  std::vector<std::thread> threads;
  for (int rank = 0; rank < size; ++rank) {
    threads.emplace_back([&, rank] {
      try {
        body(std::move(world[rank]));
      } catch (...) {
        failures[rank] = std::current_exception();
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  for (const std::exception_ptr& failure : failures) {
    if (failure) std::rethrow_exception(failure);
  }
}

}  // namespace lockstep::testing
