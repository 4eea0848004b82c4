// What the watchdogs of a run say to each other, and the connection that they say it on: TCP, apart from MPI and the
// data. Used by dist/watchdog.cpp alone; each object by one thread.
#pragma once

#include <cstdint>
#include <cstring>
#include <string>
#include <vector>

#include "core/base/progress.h"

namespace lockstep {

enum class PacketKind : std::uint32_t {
  kHello,    // the first one
  kBeat,     // what the sender is doing
  kOther,    // from rank 0 to rank 1: what another rank was doing
  kCrash,    // the sender dies of `signal`
  kFail,     // the sender cannot go on: `text`
  kLate,     // the sender waited in vain: `text`
  kEnd,      // from rank 0: end the process, the fault was told
  kGoodbye,  // the sender ends well
};

struct PacketCollective {
  std::uint64_t number, bytes;
  std::int64_t begun_ago, took;  // nanoseconds; took -1: it waits
  char what[32];
};

// Plain data in the byte order of the machine: all ranks run the same binary.
struct Packet {
  std::uint64_t token;
  PacketKind kind;
  std::int32_t rank, signal;
  std::uint32_t phase;
  std::int64_t process, step, since_ago;
  std::int64_t heard_ago;  // of another rank
  std::uint32_t collectives;
  char host[64], text[512];
  PacketCollective ring[Progress::kRing];
};

// Cut to `size` - 1 bytes.
void copy_text(char* to, std::size_t size, const std::string& from);

// One end of a connection. Packets are small and few: those of which the socket takes nothing are dropped (the other
// side does not read: it is frozen); of one that it takes in part the rest goes first with the next.
class Connection {
 public:
  explicit Connection(int socket);
  ~Connection();
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;

  int socket() const { return socket_; }
  void send(const Packet& packet);
  // Reads one packet; false where none is complete.
  bool receive(Packet& packet);
  bool closed() const { return closed_; }

 private:
  // How many of the bytes the socket takes now.
  std::size_t put(const char* bytes, std::size_t count) const;

  int socket_;
  bool closed_ = false;
  std::size_t have_ = 0;
  std::string unsent_;  // the rest of a packet
  unsigned char buffer_[sizeof(Packet)];
};

std::string own_host();
// The IPv4 addresses of this machine, loopback first.
std::vector<std::string> own_addresses();
// A socket that is connected to the address, or -1.
int connect_to(const std::string& address, int port, int milliseconds);
// A socket that listens on a free port of all addresses. Throws failed environment where there is none.
int listen_anywhere();
int port_of(int listener);

}  // namespace lockstep
