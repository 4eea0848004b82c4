// When a training that failed is started again, and on which hosts.
//
// At most R restarts within a window of time: what lies further back does not count, so a training
// of weeks outlives a fault a day, while one that fails at every start gives up. The first restart
// comes at once, the next ones after 1, 2, 4, ... seconds, at most a minute. A host on which the
// run failed twice within the window is left out from then on, where there were several.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "launcher/hosts.h"

namespace lockstep {

struct RestartLimits {
  std::int64_t most = 0;  // restarts within the window
  double window = 3600;   // seconds
};

struct Restart {
  std::int64_t number = 0;  // within the window, from 1
  double pause = 0;         // seconds, before it
};

class RestartPolicy {
 public:
  // `hosts`: those of the run; none where they are not known.
  RestartPolicy(const RestartLimits& limits, std::vector<Host> hosts)
      : limits_(limits), hosts_(std::move(hosts)), several_(hosts_.size() > 1) {}

  // The run failed at `now` (seconds of a clock that only goes on) on `host`, as that calls itself
  // (empty: not known). True where the host is left out now.
  bool note_failure(double now, const std::string& host);
  // The host cannot be used any more. False where it is none of the run, or the run has only one.
  bool leave_out(const std::string& host);

  // The restart at `now`, which counts; nothing where there were as many as may be.
  std::optional<Restart> next(double now);

  // Those that are left. None: the run had several, and all are left out.
  const std::vector<Host>& hosts() const { return hosts_; }
  bool has_hosts() const { return !several_ || !hosts_.empty(); }

 private:
  RestartLimits limits_;
  std::vector<Host> hosts_;
  bool several_;
  std::vector<double> restarts_;                         // when
  std::map<std::string, std::vector<double>> failures_;  // by the host's name in hosts_, when
};

}  // namespace lockstep
