#include "dist/watchdog.h"

#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <map>
#include <mutex>
#include <random>
#include <sstream>
#include <thread>

#include "dist/watchdog_connection.h"

namespace lockstep {
namespace {

RankState state_of(const Packet& packet, std::int64_t heard_at, std::int64_t now) {
  const double later = static_cast<double>(now - heard_at) * 1e-9;
  RankState out;
  out.rank = packet.rank;
  out.host = packet.host;
  out.process = packet.process;
  out.phase = static_cast<Phase>(packet.phase);
  out.step = packet.step;
  out.phase_seconds = static_cast<double>(packet.since_ago) * 1e-9 + later;
  out.heard = later;
  for (std::uint32_t i = 0; i < packet.collectives; ++i) {
    const PacketCollective& from = packet.ring[i];
    out.collectives.push_back({from.number, from.what, from.bytes,
                               static_cast<double>(from.begun_ago) * 1e-9 + later,
                               from.took < 0 ? -1.0 : static_cast<double>(from.took) * 1e-9});
  }
  return out;
}

// ---- Crashes -----------------------------------------------------------------------------------

// What the signal handler sends, and where: prepared, because in the handler hardly anything is allowed.
Packet crash_packet;
std::atomic<int> crash_sockets[1024];
std::atomic<int> crash_socket_count{0};
constexpr int kCrashes[] = {SIGSEGV, SIGABRT, SIGBUS, SIGFPE, SIGILL};

extern "C" void tell_crash(int signal) {
  crash_packet.signal = signal;
  for (int i = 0; i < crash_socket_count.load(); ++i) {
    [[maybe_unused]] const ssize_t sent =
        ::send(crash_sockets[i].load(), &crash_packet, sizeof crash_packet, MSG_NOSIGNAL | MSG_DONTWAIT);
  }
  std::signal(signal, SIG_DFL);
  raise(signal);
}

// "was killed (SIGKILL) or ended without a word", and how a process of this machine stands.
std::string name_of_signal(int signal) {
  const char* name = sigabbrev_np(signal);
  return name == nullptr ? text("signal ", signal) : text("SIG", name);
}

bool is_stopped(std::int64_t process) {
  std::ifstream in(text("/proc/", process, "/stat"));
  std::string line;
  std::getline(in, line);
  const std::size_t name_end = line.rfind(')');
  return name_end != std::string::npos && name_end + 2 < line.size() && line[name_end + 2] == 'T';
}

}  // namespace

namespace {

std::string seconds_text(double seconds) {
  char out[32];
  std::snprintf(out, sizeof out, "%.1f", seconds);
  return out;
}

}  // namespace

std::string FaultReport::to_string() const {
  std::string where = text("rank ", culprit.rank, " on ", culprit.host, " (process ", culprit.process, ") ", why, ", in ",
                           name_of(culprit.phase));
  if (culprit.step > 0) where += text(" of step ", culprit.step);
  char seconds[96];
  std::snprintf(seconds, sizeof seconds, ", for %.1f s%s", culprit.phase_seconds - culprit.heard,
                culprit.heard >= 0.05 ? text(" when it was heard of last, ", seconds_text(culprit.heard), " s ago").c_str() : "");
  return where + seconds;
}

// ---- The thread --------------------------------------------------------------------------------

class Watchdog::Thread {
 public:
  Thread(Communicator& communicator, Progress& progress, double deadline)
      : rank_(communicator.rank()), world_(communicator.size()), progress_(progress), deadline_(deadline),
        beat_(std::clamp(deadline / 20, 0.05, 0.5)), wake_(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {
    if (wake_ < 0) environment_failed("watchdog: eventfd: ", std::strerror(errno));
    connect_all(communicator);
    prepare_crash_handler();
    thread_ = std::thread([this] { run(); });
  }

  ~Thread() {
    ending_ = true;
    wake();
    thread_.join();
    ::close(wake_);
    for (const int signal : kCrashes) std::signal(signal, SIG_DFL);
    crash_socket_count = 0;
  }

  void on_fault(std::function<void(const FaultReport&)> tell) {
    const std::lock_guard lock(mutex_);
    tell_ = std::move(tell);
  }

  [[noreturn]] void fail(PacketKind kind, const std::string& why) {
    {
      const std::lock_guard lock(mutex_);
      failure_ = why;
      failure_kind_ = kind;
    }
    wake();
    // The thread tells it, or hears of the end from rank 0. Should rank 0 be gone as well, this rank ends by itself.
    std::this_thread::sleep_for(std::chrono::seconds(5));
    std::fprintf(stderr, "lockstep: rank %d: %s\n", rank_, why.c_str());
    _exit(1);
  }

 private:
  struct Peer {
    std::unique_ptr<Connection> connection;
    Packet last{};               // its last beat
    std::int64_t heard = 0;      // monotonic nanoseconds
    int signal = 0;              // that it dies of
    bool said_goodbye = false;
  };
  struct Heard {
    Packet last{};
    std::int64_t heard = 0;  // by rank 0; monotonic nanoseconds of this machine
  };

  // ---- Connecting ----

  void connect_all(Communicator& communicator) {
    std::string offer;
    int listener = -1;
    if (rank_ == 0) {
      listener = listen_anywhere();
      std::random_device random;
      token_ = static_cast<std::uint64_t>(random()) << 32 | random();
      offer = text(port_of(listener), ' ', token_, ' ', own_host());
      for (const std::string& address : own_addresses()) offer += ' ' + address;
    }
    const std::string answer = gather_texts(communicator, offer, "addresses of the watchdog")[0];
    const std::int64_t now = monotonic_nanoseconds();
    peers_.resize(rank_ == 0 ? world_ : 1);
    for (Peer& peer : peers_) peer.heard = now;
    if (rank_ == 0) {
      accept_all(listener);
      ::close(listener);
    } else {
      connect_to_first(answer);
    }
  }

  // Strangers that connect are sent away.
  void accept_all(int listener) {
    constexpr int kPatienceMilliseconds = 20000;
    int missing = world_ - 1;
    while (missing > 0) {
      pollfd waiting{listener, POLLIN, 0};
      if (poll(&waiting, 1, kPatienceMilliseconds) != 1) {
        environment_failed("watchdog: ", missing, " of ", world_ - 1, " ranks did not connect to rank 0 on ", own_host());
      }
      auto connection = std::make_unique<Connection>(accept4(listener, nullptr, nullptr, SOCK_CLOEXEC));
      Packet hello{};
      pollfd first{connection->socket(), POLLIN, 0};
      while (!connection->receive(hello) && !connection->closed() && poll(&first, 1, 2000) == 1) {
      }
      const bool known = hello.token == token_ && hello.rank > 0 && hello.rank < world_;
      if (!known || peers_[hello.rank].connection) continue;
      peers_[hello.rank].last = hello;
      peers_[hello.rank].heard = monotonic_nanoseconds();
      peers_[hello.rank].connection = std::move(connection);
      --missing;
    }
  }

  void connect_to_first(const std::string& offer) {
    std::istringstream in(offer);
    int port = 0;
    std::string host, address, tried;
    in >> port >> token_ >> host;
    Peer& first = peers_[0];
    copy_text(first.last.host, sizeof first.last.host, host);
    while (in >> address && !first.connection) {
      // The loopback of another machine is nobody we look for.
      if (address == "127.0.0.1" && host != own_host()) continue;
      tried += ' ' + address;
      const int socket = connect_to(address, port, 3000);
      if (socket >= 0) first.connection = std::make_unique<Connection>(socket);
    }
    if (!first.connection) {
      environment_failed("watchdog: rank ", rank_, " on ", own_host(), " cannot reach rank 0 on ", host, " at", tried,
                         " port ", port, ": open the TCP ports between the hosts");
    }
    first.connection->send(packet(PacketKind::kHello));
  }

  void prepare_crash_handler() {
    crash_packet = packet(PacketKind::kCrash);
    int count = 0;
    for (const Peer& peer : peers_) {
      if (peer.connection && count < 1024) crash_sockets[count++] = peer.connection->socket();
    }
    crash_socket_count = count;
    for (const int signal : kCrashes) std::signal(signal, tell_crash);
  }

  // ---- Beating ----

  Packet packet(PacketKind kind, const std::string& why = "") const {
    const ProgressSnapshot seen = progress_.snapshot();
    const std::int64_t now = monotonic_nanoseconds();
    Packet out{};
    out.token = token_;
    out.kind = kind;
    out.rank = rank_;
    out.phase = static_cast<std::uint32_t>(seen.phase);
    out.process = getpid();
    out.step = seen.step;
    out.since_ago = now - seen.since;
    copy_text(out.host, sizeof out.host, own_host());
    copy_text(out.text, sizeof out.text, why);
    for (const CollectiveRecord& record : seen.collectives) {
      PacketCollective& to = out.ring[out.collectives++];
      to.number = record.number;
      to.bytes = record.bytes;
      to.begun_ago = now - record.begun;
      to.took = record.ended == 0 ? -1 : record.ended - record.begun;
      copy_text(to.what, sizeof to.what, record.what);
    }
    return out;
  }

  void run() {
    std::vector<pollfd> sockets;
    while (!ending_) {
      const std::int64_t begin = monotonic_nanoseconds();
      const Packet mine = packet(PacketKind::kBeat);
      for (const Peer& peer : peers_) {
        if (peer.connection && !peer.connection->closed()) peer.connection->send(mine);
      }
      if (rank_ == 0) tell_of_others();
      listen(sockets, beat_);
      tell_own_failure();
      // A process that was itself stopped for longer than the deadline has been told of by the others.
      if (static_cast<double>(monotonic_nanoseconds() - begin) * 1e-9 > deadline_ + beat_) _exit(1);
      look_for_faults();
    }
    say_goodbye(sockets);
  }

  // Rank 1 knows of all, to tell it where rank 0 is lost. In a large world not all at once: the socket must take it.
  void tell_of_others() {
    constexpr int kAtOnce = 8;
    const int others = world_ - 2;
    if (others < 1 || !peers_[1].connection || peers_[1].connection->closed()) return;
    for (int i = 0; i < std::min(kAtOnce, others); ++i) {
      const Peer& other = peers_[static_cast<std::size_t>(2 + told_)];
      told_ = (told_ + 1) % others;
      Packet packet = other.last;
      packet.kind = PacketKind::kOther;
      packet.heard_ago = monotonic_nanoseconds() - other.heard;
      peers_[1].connection->send(packet);
    }
  }

  // The thread has something to look at.
  void wake() const {
    const std::uint64_t one = 1;
    // It fails only where the thread is to wake already.
    [[maybe_unused]] const ssize_t put = ::write(wake_, &one, sizeof one);
  }

  // Reads what comes for that long, or until something needs to be looked at.
  void listen(std::vector<pollfd>& sockets, double seconds) {
    const std::int64_t until = monotonic_nanoseconds() + static_cast<std::int64_t>(seconds * 1e9);
    std::int64_t left = until - monotonic_nanoseconds();
    for (; !ending_ && left > 0; left = until - monotonic_nanoseconds()) {
      sockets.assign(1, {wake_, POLLIN, 0});
      for (const Peer& peer : peers_) {
        if (peer.connection && !peer.connection->closed()) sockets.push_back({peer.connection->socket(), POLLIN, 0});
      }
      poll(sockets.data(), sockets.size(), static_cast<int>(left / 1'000'000) + 1);
      bool news = has_failed();
      for (Peer& peer : peers_) news |= read(peer);
      if (news) return;
    }
  }

  bool read(Peer& peer) {
    if (!peer.connection || peer.connection->closed()) return false;
    Packet packet;
    bool news = false;
    while (peer.connection->receive(packet)) {
      if (packet.token != token_) continue;
      peer.heard = monotonic_nanoseconds();
      switch (packet.kind) {
        case PacketKind::kHello:
        case PacketKind::kBeat: peer.last = packet; break;
        case PacketKind::kOther: others_[packet.rank] = {packet, peer.heard - packet.heard_ago}; break;
        case PacketKind::kCrash:
          peer.signal = packet.signal;
          news = true;
          break;
        case PacketKind::kGoodbye: peer.said_goodbye = true; break;
        case PacketKind::kEnd: _exit(1);
        case PacketKind::kFail:
        case PacketKind::kLate:
          peer.last = packet;
          receive_failure(packet);
          break;
      }
    }
    return news || peer.connection->closed();
  }

  // ---- Faults ----

  bool has_failed() {
    const std::lock_guard lock(mutex_);
    return !failure_.empty();
  }

  // Rank 0 tells its own failure, the others leave it to rank 0.
  void tell_own_failure() {
    std::string why;
    PacketKind kind;
    {
      const std::lock_guard lock(mutex_);
      if (failure_.empty()) return;
      why = failure_;
      kind = failure_kind_;
      if (rank_ != 0) failure_.clear();
    }
    if (rank_ != 0) {
      peers_[0].connection->send(packet(kind, why));
    } else {
      receive_failure(packet(kind, why));
    }
  }

  void receive_failure(const Packet& packet) {
    if (packet.kind == PacketKind::kLate) blame_for_waiting(0, packet.text);
    report(state_of(packet, monotonic_nanoseconds(), monotonic_nanoseconds()), text("failed: ", packet.text));
  }

  void look_for_faults() {
    const std::int64_t now = monotonic_nanoseconds();
    for (std::size_t i = 0; i < peers_.size(); ++i) {
      const Peer& peer = peers_[i];
      if (!peer.connection || peer.said_goodbye) continue;
      if (peer.connection->closed()) {
        report(state_of_peer(i, now), peer.signal != 0
                                          ? text("died of ", name_of_signal(peer.signal))
                                          : std::string("is gone: it was killed (SIGKILL, out of memory?) or ended without a word"));
      }
      const double silent = static_cast<double>(now - peer.heard) * 1e-9;
      if (silent > deadline_) report_silent(i, now);
    }
    if (rank_ == 0) blame_for_waiting(deadline_, "");
  }

  [[noreturn]] void report_silent(std::size_t index, std::int64_t now) {
    const Peer& peer = peers_[index];
    report(state_of_peer(index, now), text("is silent for ", seconds_text(static_cast<double>(now - peer.heard) * 1e-9),
                                           " s: ", why_silent(peer)));
  }

  std::string why_silent(const Peer& peer) const {
    if (peer.last.host != own_host()) return "its host or the network to it is down, or it is frozen";
    if (is_stopped(peer.last.process)) return "it is stopped (SIGSTOP)";
    return "it is frozen";
  }

  RankState state_of_peer(std::size_t index, std::int64_t now) const {
    RankState state = state_of(peers_[index].last, peers_[index].heard, now);
    if (rank_ != 0) state.rank = 0;  // the only peer
    return state;
  }

  // All ranks that this one knows of, itself included.
  std::vector<RankState> known_states() const {
    const std::int64_t now = monotonic_nanoseconds();
    std::vector<RankState> out;
    for (std::size_t i = 0; i < peers_.size(); ++i) {
      if (peers_[i].connection) out.push_back(state_of_peer(i, now));
    }
    for (const auto& [rank, other] : others_) out.push_back(state_of(other.last, other.heard, now));
    out.push_back(state_of(packet(PacketKind::kBeat), now, now));
    std::ranges::sort(out, {}, &RankState::rank);
    return out;
  }

  // Where somebody waits in an exchange longer than `least` seconds, a rank that is silent is to blame, else the one that
  // has not come as far.
  void blame_for_waiting(double least, const std::string& complaint) {
    const std::vector<RankState> states = known_states();
    const double stale = std::max(5 * beat_, 0.5);
    const RankState* waiting = nullptr;
    for (const RankState& state : states) {
      if (state.heard > stale || state.collectives.empty() || state.collectives.back().seconds >= 0) continue;
      const double waited = state.collectives.back().begun;
      if (waited > least && (waiting == nullptr || waited > waiting->collectives.back().begun)) waiting = &state;
    }
    if (waiting == nullptr) return;
    const std::int64_t now = monotonic_nanoseconds();
    for (std::size_t i = 0; i < peers_.size(); ++i) {
      const bool silent = static_cast<double>(now - peers_[i].heard) * 1e-9 > stale;
      if (peers_[i].connection && !peers_[i].said_goodbye && silent) report_silent(i, now);
    }
    const RankState::Collective& exchange = waiting->collectives.back();
    const auto number = [](const RankState& state) {
      return state.collectives.empty() ? 0 : state.collectives.back().number;
    };
    const RankState* culprit = &*std::ranges::min_element(states, {}, number);
    if (number(*culprit) >= exchange.number) {
      if (least == 0) report(*waiting, text("failed: ", complaint));
      report(*waiting, text("waited ", seconds_text(exchange.begun), " s in \"", exchange.what,
                            "\", where all ranks have come: the network between them is down"));
    }
    report(*culprit, text("is late: rank ", waiting->rank, " waits for it in \"", exchange.what, "\" since ",
                          seconds_text(exchange.begun), " s"));
  }

  // Tells the fault, ends the other processes and this one.
  [[noreturn]] void report(const RankState& culprit, const std::string& why) {
    FaultReport report{culprit, why, known_states()};
    // Where rank 0 is lost the others cannot agree on who tells it: one after another; the first one's end ends all.
    if (rank_ != 0) std::this_thread::sleep_for(std::chrono::milliseconds(std::min(3000 * (rank_ - 1), 4500)));
    std::function<void(const FaultReport&)> tell;
    {
      const std::lock_guard lock(mutex_);
      tell = tell_;
    }
    try {
      if (tell) tell(report);
      else std::fprintf(stderr, "lockstep: %s\n", report.to_string().c_str());
    } catch (const std::exception& error) {
      std::fprintf(stderr, "lockstep: %s; besides: %s\n", report.to_string().c_str(), error.what());
    }
    std::fflush(stderr);
    const Packet end = packet(PacketKind::kEnd);
    for (const Peer& peer : peers_) {
      if (rank_ == 0 && peer.connection && !peer.connection->closed()) peer.connection->send(end);
    }
    wait_for_ends();
    _exit(1);
  }

  // Those that can end do so within moments.
  void wait_for_ends() {
    const std::int64_t until = monotonic_nanoseconds() + 1'000'000'000;
    bool open = rank_ == 0;
    while (open && monotonic_nanoseconds() < until) {
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
      open = false;
      Packet ignored;
      for (Peer& peer : peers_) {
        if (!peer.connection) continue;
        while (peer.connection->receive(ignored)) {
        }
        open |= !peer.connection->closed();
      }
    }
  }

  // Rank 0 hears the goodbyes of all: until then a closed connection is a fault.
  void say_goodbye(std::vector<pollfd>& sockets) {
    const Packet goodbye = packet(PacketKind::kGoodbye);
    for (const Peer& peer : peers_) {
      if (peer.connection) peer.connection->send(goodbye);
    }
    const std::int64_t until = monotonic_nanoseconds() + 2'000'000'000;
    auto waiting = [this] {
      return std::ranges::any_of(peers_, [](const Peer& peer) {
        return peer.connection && !peer.said_goodbye && !peer.connection->closed();
      });
    };
    while (rank_ == 0 && waiting() && monotonic_nanoseconds() < until) {
      sockets.clear();
      for (const Peer& peer : peers_) {
        if (peer.connection && !peer.connection->closed()) sockets.push_back({peer.connection->socket(), POLLIN, 0});
      }
      poll(sockets.data(), sockets.size(), 20);
      for (Peer& peer : peers_) read(peer);
    }
  }

  const int rank_, world_;
  Progress& progress_;
  const double deadline_, beat_;  // seconds
  const int wake_;                // an eventfd
  std::uint64_t token_ = 0;
  std::vector<Peer> peers_;  // rank 0: by rank, without itself; the others: rank 0
  int told_ = 0;                 // whose state rank 0 passes on next, from rank 2 on
  std::map<int, Heard> others_;  // rank 1: all but rank 0 and itself
  std::mutex mutex_;
  std::function<void(const FaultReport&)> tell_;
  std::string failure_;  // of this rank
  PacketKind failure_kind_ = PacketKind::kFail;
  std::atomic<bool> ending_{false};
  std::thread thread_;
};

Watchdog::Watchdog(Communicator& communicator, Progress& progress, double deadline)
    : thread_(std::make_unique<Thread>(communicator, progress, deadline)) {}

Watchdog::~Watchdog() = default;

void Watchdog::on_fault(std::function<void(const FaultReport&)> tell) { thread_->on_fault(std::move(tell)); }

void Watchdog::fail(const std::string& why) { thread_->fail(PacketKind::kFail, why); }

void Watchdog::fail_late(const std::string& why) { thread_->fail(PacketKind::kLate, why); }

}  // namespace lockstep
