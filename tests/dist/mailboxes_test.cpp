#include "dist/mailboxes.h"

#include <gtest/gtest.h>

#include <cstring>
#include <memory>
#include <thread>
#include <vector>

namespace lockstep {
namespace {

class MailboxTest : public ::testing::Test {
 protected:
  std::unique_ptr<Mailbox::Memory> memory_ = std::make_unique<Mailbox::Memory>();
  MailboxWriter writer_{memory_.get()};
  MailboxReader reader_{memory_.get()};
};

TEST_F(MailboxTest, SmallMessagesArriveInOrder) {
  EXPECT_EQ(reader_.open(), nullptr);
  ASSERT_TRUE(writer_.post_copy("abc", 3));
  ASSERT_TRUE(writer_.post_reference({4096, 8192, 16}, 100));
  const Mailbox::Letter* first = reader_.open();
  ASSERT_NE(first, nullptr);
  EXPECT_EQ(std::string(reinterpret_cast<const char*>(reader_.bytes_of(*first)), first->bytes), "abc");
  const Mailbox::Letter* second = reader_.open();
  ASSERT_NE(second, nullptr);
  EXPECT_EQ(second->place, Mailbox::kByReference);
  EXPECT_EQ(second->reference.offset, 16u);
  EXPECT_EQ(reader_.open(), nullptr);
  EXPECT_FALSE(writer_.all_taken());
  reader_.take();
  EXPECT_TRUE(writer_.all_taken());
}

TEST_F(MailboxTest, IsFullUntilMessagesAreTaken) {
  for (std::size_t i = 0; i < Mailbox::kLetters; ++i) ASSERT_TRUE(writer_.post_copy("x", 1));
  EXPECT_FALSE(writer_.post_copy("x", 1));
  EXPECT_FALSE(writer_.post_reference({}, 1));
  reader_.open();
  EXPECT_FALSE(writer_.post_copy("x", 1));  // opened is not taken
  reader_.take();
  EXPECT_TRUE(writer_.post_copy("x", 1));
  EXPECT_FALSE(writer_.post_copy("x", 1));
}

TEST_F(MailboxTest, BytesInUseAreNotOverwritten) {
  const std::vector<char> large(Mailbox::kLargestSmall, 'a');
  std::size_t posted = 0;
  while (writer_.post_copy(large.data(), large.size())) ++posted;
  EXPECT_EQ(posted, Mailbox::kRingBytes / Mailbox::kLargestSmall);
  EXPECT_TRUE(writer_.post_reference({}, 1));  // letters are left
}

// A pure function of the number of the message.
std::vector<unsigned char> message(std::uint32_t number) {
  const std::size_t bytes = number * 2654435761u % (Mailbox::kLargestSmall + 1);
  return std::vector<unsigned char>(bytes, static_cast<unsigned char>(number));
}

TEST_F(MailboxTest, CarriesManyMessagesOfAnyLength) {
  constexpr std::uint32_t kMessages = 20000;
  std::thread sender([this] {
    for (std::uint32_t i = 0; i < kMessages; ++i) {
      const auto bytes = message(i);
      while (!writer_.post_copy(bytes.data(), bytes.size())) std::this_thread::yield();
    }
  });
  for (std::uint32_t i = 0; i < kMessages; ++i) {
    const Mailbox::Letter* letter = nullptr;
    while ((letter = reader_.open()) == nullptr) std::this_thread::yield();
    const auto expected = message(i);
    ASSERT_EQ(letter->bytes, expected.size());
    ASSERT_TRUE(expected.empty() ||
                std::memcmp(reader_.bytes_of(*letter), expected.data(), expected.size()) == 0)
        << "message " << i;
    reader_.take();
  }
  sender.join();
}

}  // namespace
}  // namespace lockstep
