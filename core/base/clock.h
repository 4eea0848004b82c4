// Durations in seconds, and the time of day as people and other programs read it.
#pragma once

#include <chrono>
#include <string>

namespace lockstep {

inline double seconds_between(std::chrono::steady_clock::time_point from,
                              std::chrono::steady_clock::time_point to) {
  return std::chrono::duration<double>(to - from).count();
}

inline double seconds_since(std::chrono::steady_clock::time_point begin) {
  return seconds_between(begin, std::chrono::steady_clock::now());
}

// "2026-11-27T09:30:00Z"
std::string utc_now();

}  // namespace lockstep
