#include "launcher/blame.h"

#include <cstdio>
#include <cstdlib>
#include <string_view>

namespace lockstep {

std::optional<Blame> blame_in_fault(const std::string& line) {
  Blame blame;
  char host[256] = {};
  long long process = 0;
  int end = 0;  // reached only where all before it is there
  std::sscanf(line.c_str(), "lockstep: rank %d on %255s (process %lld) %n", &blame.rank, host,
              &process, &end);
  if (end == 0) return std::nullopt;
  blame.host = host;
  // The last one: what failed may have named a step as well.
  constexpr std::string_view kStep = " of step ";
  if (const std::size_t at = line.rfind(kStep); at != std::string::npos) {
    blame.step = std::strtoll(line.c_str() + at + kStep.size(), nullptr, 10);
  }
  return blame;
}

std::optional<Blame> blame_in_paragraph(const std::string& paragraph) {
  Blame blame;
  char host[256] = {};
  long long process = 0;
  const std::size_t at = paragraph.find("process rank ");
  if (at == std::string::npos) return std::nullopt;
  if (std::sscanf(paragraph.c_str() + at, "process rank %d with PID %lld on node %255s",
                  &blame.rank, &process, host) != 3) {
    return std::nullopt;
  }
  blame.host = host;
  return blame;
}

}  // namespace lockstep
