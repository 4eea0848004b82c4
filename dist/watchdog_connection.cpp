#include "dist/watchdog_connection.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <ifaddrs.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>

#include "core/base/error.h"

namespace lockstep {
namespace {

void set_waiting(int socket, bool waits) {
  const int flags = fcntl(socket, F_GETFL);
  fcntl(socket, F_SETFL, waits ? flags & ~O_NONBLOCK : flags | O_NONBLOCK);
}

}  // namespace

void copy_text(char* to, std::size_t size, const std::string& from) {
  std::strncpy(to, from.c_str(), size - 1);
  to[size - 1] = 0;
}

Connection::Connection(int socket) : socket_(socket) {
  const int on = 1;
  setsockopt(socket, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  set_waiting(socket, false);
}

Connection::~Connection() { ::close(socket_); }

std::size_t Connection::put(const char* bytes, std::size_t count) const {
  const ssize_t sent = ::send(socket_, bytes, count, MSG_NOSIGNAL | MSG_DONTWAIT);
  return sent > 0 ? static_cast<std::size_t>(sent) : 0;
}

void Connection::send(const Packet& packet) {
  unsent_.erase(0, put(unsent_.data(), unsent_.size()));
  if (!unsent_.empty()) return;
  const auto* bytes = reinterpret_cast<const char*>(&packet);
  const std::size_t sent = put(bytes, sizeof packet);
  if (sent > 0) unsent_.assign(bytes + sent, sizeof packet - sent);
}

bool Connection::receive(Packet& packet) {
  while (!closed_ && have_ < sizeof packet) {
    const ssize_t got = ::recv(socket_, buffer_ + have_, sizeof packet - have_, MSG_DONTWAIT);
    if (got > 0) {
      have_ += static_cast<std::size_t>(got);
    } else if (got < 0 && (errno == EAGAIN || errno == EINTR)) {
      return false;
    } else {
      closed_ = true;
    }
  }
  if (have_ < sizeof packet) return false;
  std::memcpy(&packet, buffer_, sizeof packet);
  have_ = 0;
  return true;
}

std::vector<std::string> own_addresses() {
  std::vector<std::string> out{"127.0.0.1"};
  ifaddrs* all = nullptr;
  if (getifaddrs(&all) != 0) return out;
  for (const ifaddrs* one = all; one != nullptr; one = one->ifa_next) {
    if (one->ifa_addr == nullptr || one->ifa_addr->sa_family != AF_INET) continue;
    char text[INET_ADDRSTRLEN];
    inet_ntop(AF_INET, &reinterpret_cast<const sockaddr_in*>(one->ifa_addr)->sin_addr, text, sizeof text);
    if (std::string(text) != "127.0.0.1") out.emplace_back(text);
  }
  freeifaddrs(all);
  return out;
}

int connect_to(const std::string& address, int port, int milliseconds) {
  const int socket = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in where{};
  where.sin_family = AF_INET;
  where.sin_port = htons(static_cast<std::uint16_t>(port));
  inet_pton(AF_INET, address.c_str(), &where.sin_addr);
  set_waiting(socket, false);
  int error = 0;
  if (connect(socket, reinterpret_cast<const sockaddr*>(&where), sizeof where) != 0) {
    pollfd waiting{socket, POLLOUT, 0};
    socklen_t size = sizeof error;
    if (errno != EINPROGRESS || poll(&waiting, 1, milliseconds) != 1 ||
        getsockopt(socket, SOL_SOCKET, SO_ERROR, &error, &size) != 0 || error != 0) {
      ::close(socket);
      return -1;
    }
  }
  return socket;
}

std::string own_host() {
  char name[64] = {};
  gethostname(name, sizeof name - 1);
  return name;
}

int listen_anywhere() {
  const int listener = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in where{};
  where.sin_family = AF_INET;
  where.sin_addr.s_addr = htonl(INADDR_ANY);
  if (listener < 0 || bind(listener, reinterpret_cast<const sockaddr*>(&where), sizeof where) != 0 ||
      ::listen(listener, 1024) != 0) {
    environment_failed("watchdog: no port to listen on: ", std::strerror(errno));
  }
  return listener;
}

int port_of(int listener) {
  sockaddr_in where{};
  socklen_t size = sizeof where;
  getsockname(listener, reinterpret_cast<sockaddr*>(&where), &size);
  return ntohs(where.sin_port);
}

}  // namespace lockstep
