#include "launcher/hosts.h"

#include <arpa/inet.h>
#include <netdb.h>
#include <netinet/in.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <fstream>
#include <map>
#include <set>
#include <sstream>

#include "core/base/error.h"
#include "core/base/file.h"
#include "launcher/placement.h"

namespace lockstep {
namespace {

constexpr int kMostWorkers = 100000;  // of a host; more is a slip of the keyboard

// `where` begins the messages.
int workers_of(const std::string& where, const std::string& host, const std::string& number) {
  int workers = 0;
  const auto [end, error] = std::from_chars(number.data(), number.data() + number.size(), workers);
  if (error != std::errc() || end != number.data() + number.size() || workers < 1 ||
      workers > kMostWorkers) {
    bad_input(where, ": expected a number of workers from 1 on after ", host, ", found '", number,
              "'; write ", host, ":4");
  }
  return workers;
}

Host host_of(const std::string& where, const std::string& word) {
  const std::size_t colon = word.find(':');
  const std::string name = word.substr(0, colon);
  const bool is_name = !name.empty() && std::ranges::all_of(name, [](unsigned char c) {
    return std::isalnum(c) != 0 || c == '-' || c == '.' || c == '_';
  });
  if (!is_name || name[0] == '-') {
    bad_input(where, ": '", word, "' is no host; expected NAME or NAME:WORKERS, as h1:4,h2:4");
  }
  Host host{name};
  if (colon != std::string::npos) host.workers = workers_of(where, name, word.substr(colon + 1));
  return host;
}

Host* find_host(std::vector<Host>& hosts, const std::string& name) {
  const auto found = std::ranges::find(hosts, name, &Host::name);
  return found == hosts.end() ? nullptr : &*found;
}

void add_host(std::vector<Host>& hosts, const std::string& where, const Host& host) {
  if (find_host(hosts, host.name) != nullptr) {
    bad_input(where, ": ", host.name, " occurs twice; give each host once, with all its workers");
  }
  hosts.push_back(host);
}

std::string own_name() {
  char name[256] = {};
  gethostname(name, sizeof name - 1);
  return name;
}

}  // namespace

std::vector<Host> parse_hosts(const std::string& list) {
  std::vector<Host> hosts;
  std::istringstream in(list + ",");
  for (std::string word; std::getline(in, word, ',');) {
    add_host(hosts, "--hosts", host_of("--hosts", word));
  }
  return hosts;
}

std::vector<Host> read_hostfile(const std::string& path) {
  std::vector<Host> hosts;
  std::map<std::string, int> plain;  // lines without a number
  bool one_line_a_worker = false;
  std::istringstream in(local_files().read(path));
  int number = 0;
  for (std::string line; std::getline(in, line);) {
    const std::string where = text(path, ":", ++number);
    std::istringstream words(line.substr(0, line.find('#')));
    std::string word;
    if (!(words >> word)) continue;
    Host host = host_of(where, word);
    while (words >> word) {
      constexpr std::string_view kSlots = "slots=";
      if (!word.starts_with(kSlots)) {
        bad_input(where, ": unexpected '", word, "'; expected NAME slots=WORKERS");
      }
      host.workers = workers_of(where, host.name, word.substr(kSlots.size()));
    }
    const int lines = host.workers == 0 ? ++plain[host.name] : 1;
    if (lines == 1) add_host(hosts, where, host);
    one_line_a_worker |= lines > 1;
  }
  for (const auto& [name, lines] : plain) {
    if (one_line_a_worker) find_host(hosts, name)->workers = lines;
  }
  check_input(!hosts.empty(), path, ": names no host; expected one a line, as: h1 slots=4");
  return hosts;
}

std::vector<Host> hosts_of(const std::string& list, const std::string& path) {
  check_input(list.empty() || path.empty(), "--hosts and --hostfile exclude each other");
  if (!list.empty()) return parse_hosts(list);
  if (!path.empty()) return read_hostfile(path);
  return {};
}

std::int64_t workers_of_rest(std::int64_t workers, const std::vector<Host>& all,
                             const std::vector<Host>& rest) {
  const auto is_left = [&](const Host& host) {
    return std::ranges::find(rest, host.name, &Host::name) != rest.end();
  };
  const bool counted = std::ranges::all_of(all, [](const Host& host) { return host.workers > 0; });
  std::int64_t room = 0, room_left = 0, free = workers, filled = 0;
  for (const Host& host : all) {
    const std::int64_t here = counted ? host.workers : 1;
    const std::int64_t first = std::min(free, here);  // mpirun fills one host after another
    free -= first;
    room += here;
    if (is_left(host)) {
      room_left += here;
      filled += first;
    }
  }
  if (room == 0) return workers;
  const bool fits = counted && workers <= room;
  return std::max<std::int64_t>(1, fits ? filled : workers * room_left / room);
}

std::string for_mpirun(const std::vector<Host>& hosts) {
  std::string out;
  for (const Host& host : hosts) {
    const std::string workers = host.workers > 0 ? std::to_string(host.workers) : "auto";
    out += (out.empty() ? "" : ",") + host.name + ":" + workers;
  }
  return out;
}

bool is_this_machine(const std::string& name) {
  if (name == "localhost" || name == "127.0.0.1") return true;
  const std::string own = own_name();
  return name == own || name == own.substr(0, own.find('.')) ||
         name.substr(0, name.find('.')) == own;
}

bool is_same_host(const std::string& a, const std::string& b) {
  if (a.empty() || b.empty()) return false;
  if (a == b || (is_this_machine(a) && is_this_machine(b))) return true;
  const auto is_address = [](const std::string& name) {
    return name.find_first_not_of("0123456789.") == std::string::npos;
  };
  const bool one_is_address = is_address(a) || is_address(b);
  if (!one_is_address) return a.substr(0, a.find('.')) == b.substr(0, b.find('.'));
  std::string why;
  const std::string address = address_of(a, why);
  return !address.empty() && address == address_of(b, why);
}

bool all_on_this_machine(const std::vector<Host>& hosts) {
  return std::ranges::all_of(hosts, [](const Host& host) { return is_this_machine(host.name); });
}

std::string address_of(const std::string& name, std::string& why) {
  addrinfo wanted{};
  wanted.ai_family = AF_INET;
  wanted.ai_socktype = SOCK_STREAM;
  addrinfo* found = nullptr;
  const int code = getaddrinfo(name.c_str(), nullptr, &wanted, &found);
  if (code != 0) {
    why = gai_strerror(code);
    return "";
  }
  char text[INET_ADDRSTRLEN] = {};
  inet_ntop(AF_INET, &reinterpret_cast<const sockaddr_in*>(found->ai_addr)->sin_addr, text,
            sizeof text);
  freeaddrinfo(found);
  return text;
}

int usable_cores() {
  // Hardware threads of one core name the same siblings.
  std::set<std::string> cores;
  const WorkerPlace here = own_place(0);
  for (const int thread : here.cores) {
    std::ifstream in(text("/sys/devices/system/cpu/cpu", thread, "/topology/thread_siblings_list"));
    std::string siblings;
    if (!(in >> siblings)) return static_cast<int>(here.cores.size());
    cores.insert(siblings);
  }
  return std::max(1, static_cast<int>(cores.size()));
}

}  // namespace lockstep
