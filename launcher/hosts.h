// The hosts of a run: "h1:4,h2:4", or a file with one of them a line.
//
//   list := host ("," host)*        host := NAME [":" WORKERS]
//   file := line*                   line := NAME [":" WORKERS | "slots=" WORKERS] ["#" comment] |
//   "#" comment
//
// A host without a number has one worker per GPU, or per core (launcher/gpu_count.h). The file is Open MPI's hostfile; a host that stands on several lines
// without a number has a worker for each of them, as the files of PBS and LSF say it, and so have the others then.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace lockstep {

struct Host {
  std::string name;
  int workers = 0;  // 0: no number was given
};

// Throws bad_input where the text is no list, or a host occurs twice.
std::vector<Host> parse_hosts(const std::string& list);
// The same for a file; messages begin "PATH:LINE".
std::vector<Host> read_hostfile(const std::string& path);

// Of `list` where it is given, else of the file at `path`; none where both are empty. Throws
// bad_input where both are given.
std::vector<Host> hosts_of(const std::string& list, const std::string& path);

// How many of `workers` remain where of `all` hosts only the `rest` is left: those of the other hosts are gone. At least
// one.
std::int64_t workers_of_rest(std::int64_t workers, const std::vector<Host>& all,
                             const std::vector<Host>& rest);

// "h1:4,h2:auto", as mpirun --host reads it.
std::string for_mpirun(const std::vector<Host>& hosts);

// Whether `name` is this machine: its host name, with or without domain, or a name or address of
// loopback.
bool is_this_machine(const std::string& name);
// Whether both names mean the same host: with or without domain, or one of them is an address of the other.
bool is_same_host(const std::string& a, const std::string& b);
bool all_on_this_machine(const std::vector<Host>& hosts);

// An IPv4 address of the host as text; empty with the system's reason in `why` where its name is
// not known.
std::string address_of(const std::string& name, std::string& why);

// Processor cores (not hardware threads) that this process may run on.
int usable_cores();

}  // namespace lockstep
