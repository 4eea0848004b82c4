// The hosts of a run: "h1:4,h2:4", or a file with one of them a line.
//
//   list := host ("," host)*        host := NAME [":" WORKERS]
//   file := line*                   line := NAME [":" WORKERS | "slots=" WORKERS] ["#" comment] |
//   "#" comment
//
// A host without a number has one worker per core. The file is Open MPI's hostfile.
#pragma once

#include <string>
#include <vector>

namespace lockstep {

struct Host {
  std::string name;
  int workers = 0;  // 0: one per core
};

// Throws bad_input where the text is no list, or a host occurs twice.
std::vector<Host> parse_hosts(const std::string& list);
// The same for a file; messages begin "PATH:LINE".
std::vector<Host> read_hostfile(const std::string& path);

// Of `list` where it is given, else of the file at `path`; none where both are empty. Throws
// bad_input where both are given.
std::vector<Host> hosts_of(const std::string& list, const std::string& path);

// "h1:4,h2:auto", as mpirun --host reads it.
std::string for_mpirun(const std::vector<Host>& hosts);

// Whether `name` is this machine: its host name, with or without domain, or a name or address of
// loopback.
bool is_this_machine(const std::string& name);
bool all_on_this_machine(const std::vector<Host>& hosts);

// An IPv4 address of the host as text; empty with the system's reason in `why` where its name is
// not known.
std::string address_of(const std::string& name, std::string& why);

// Processor cores (not hardware threads) that this process may run on.
int usable_cores();

}  // namespace lockstep
