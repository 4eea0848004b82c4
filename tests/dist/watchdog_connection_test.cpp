// The connection of the watchdogs: packets stay whole, whatever the socket takes at once.
#include "dist/watchdog_connection.h"

#include <gtest/gtest.h>
#include <poll.h>
#include <sys/socket.h>

namespace lockstep {
namespace {

TEST(WatchdogConnection, PacketsStayWholeWhenTheOtherSideDoesNotReadForAWhile) {
  const int listener = listen_anywhere();
  Connection sender(connect_to("127.0.0.1", port_of(listener), 1000));
  Connection receiver(accept(listener, nullptr, nullptr));
  Packet packet{};
  packet.token = 4711;
  // Far more than the buffers of both sides hold: many are dropped, and one is taken in part.
  for (int i = 1; i <= 20000; ++i) {
    packet.step = i;
    sender.send(packet);
  }
  Packet got{};
  std::int64_t last = 0, count = 0;
  const auto read_all = [&] {
    pollfd wait{receiver.socket(), POLLIN, 0};
    while (poll(&wait, 1, 200) == 1) {
      while (receiver.receive(got)) {
        ASSERT_EQ(got.token, 4711u) << "after " << count << " packets";
        ASSERT_GT(got.step, last);
        last = got.step;
        ++count;
      }
    }
  };
  read_all();
  EXPECT_LT(count, 20000);
  // It reads again, and hears what is said now.
  for (int i = 1; i <= 3; ++i) {
    packet.step = 100000 + i;
    sender.send(packet);
  }
  read_all();
  EXPECT_EQ(last, 100003);
}

}  // namespace
}  // namespace lockstep
