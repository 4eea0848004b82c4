// Digests against published values, and that pieces give the digest of the whole.
#include "core/base/hash.h"

#include <gtest/gtest.h>

#include <string_view>

namespace lockstep {
namespace {

std::span<const std::byte> bytes_of(std::string_view text) {
  return std::as_bytes(std::span(text));
}

TEST(Hash, Sha256OfTheExamplesOfFips180) {
  Sha256 empty;
  EXPECT_EQ(empty.hex(), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  Sha256 pieces;
  pieces.update(bytes_of("a"));
  pieces.update(bytes_of("bc"));
  EXPECT_EQ(pieces.hex(), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
}

TEST(Hash, Xxh3OfPiecesIsThatOfTheWhole) {
  EXPECT_EQ(xxh3({}), 0x2D06800538D394C2u);  // XXH3_64bits of nothing, from xxHash's own tests
  const std::string whole(5000, 'q');
  Xxh3 pieces;
  pieces.update(bytes_of(whole).first(1234));
  const std::uint64_t partial = pieces.digest();
  pieces.update(bytes_of(whole).subspan(1234));
  EXPECT_EQ(partial, xxh3(bytes_of(whole).first(1234)));
  EXPECT_EQ(pieces.digest(), xxh3(bytes_of(whole)));
  EXPECT_NE(partial, pieces.digest());
}

TEST(Hash, HexHasSixteenDigits) {
  EXPECT_EQ(hex_of(0xabc), "0000000000000abc");
}

}  // namespace
}  // namespace lockstep
