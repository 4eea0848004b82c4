// Two digests, each fed piece by piece: SHA-256 (OpenSSL) where two people compare results, XXH3
// (xxHash) where speed matters and nobody cheats (fingerprints, checksums of files). Objects belong
// to one thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

namespace lockstep {

class Sha256 {
 public:
  Sha256();
  ~Sha256();
  Sha256(const Sha256&) = delete;
  Sha256& operator=(const Sha256&) = delete;

  void update(std::span<const std::byte> bytes);
  // The digest in 64 lower-case hexadecimal digits. Ends the object's use: call it once.
  std::string hex();

 private:
  void* context_;  // EVP_MD_CTX
};

// 64-bit XXH3 with seed 0.
class Xxh3 {
 public:
  Xxh3();
  ~Xxh3();
  Xxh3(const Xxh3&) = delete;
  Xxh3& operator=(const Xxh3&) = delete;

  void update(std::span<const std::byte> bytes);
  // The digest of all bytes so far; more may follow.
  std::uint64_t digest() const;

 private:
  void* state_;  // XXH3_state_t
};

// The digest of one block.
std::uint64_t xxh3(std::span<const std::byte> bytes);

// 16 lower-case hexadecimal digits.
std::string hex_of(std::uint64_t value);

}  // namespace lockstep
