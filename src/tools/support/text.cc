#include "tools/support/text.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstdio>
#include <iterator>
#include <utility>

namespace raftkv::tools {
namespace {

constexpr char kHexDigits[] = "0123456789abcdef";
constexpr std::string_view kAlphabet =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

int HexValue(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

void AppendHexEscape(std::string* out, char c) {
  const auto byte = static_cast<uint8_t>(c);
  out->append("\\x");
  out->push_back(kHexDigits[byte >> 4]);
  out->push_back(kHexDigits[byte & 15]);
}

}  // namespace

std::string Base64(std::string_view bytes) {
  std::string out;
  out.reserve((bytes.size() + 2) / 3 * 4);
  for (size_t i = 0; i < bytes.size(); i += 3) {
    const size_t have = std::min<size_t>(3, bytes.size() - i);
    uint32_t group = 0;
    for (size_t j = 0; j < 3; ++j) {
      group = (group << 8) | (j < have ? static_cast<uint8_t>(bytes[i + j]) : 0);
    }
    for (size_t j = 0; j < 4; ++j) {
      out.push_back(j <= have ? kAlphabet[(group >> (18 - 6 * j)) & 63] : '=');
    }
  }
  return out;
}

std::optional<std::string> FromBase64(std::string_view text) {
  if (text.size() % 4 != 0) return std::nullopt;
  std::string out;
  for (size_t i = 0; i < text.size(); i += 4) {
    const std::string_view group = text.substr(i, 4);
    const bool last = i + 4 == text.size();
    const size_t have = last ? std::min(group.find('='), size_t{4}) : 4;
    if (have < 2 || group.substr(have) != std::string_view("==").substr(0, 4 - have)) {
      return std::nullopt;
    }
    uint32_t bits = 0;
    for (size_t j = 0; j < 4; ++j) {
      const size_t value = j < have ? kAlphabet.find(group[j]) : 0;
      if (value == std::string_view::npos) return std::nullopt;
      bits = (bits << 6) | static_cast<uint32_t>(value);
    }
    for (size_t j = 0; j + 1 < have; ++j) out.push_back(static_cast<char>(bits >> (16 - 8 * j)));
  }
  // Bits that no encoder sets would make two texts mean the same bytes.
  if (Base64(out) != text) return std::nullopt;
  return out;
}

std::string Hex(std::string_view bytes) {
  std::string out;
  out.reserve(bytes.size() * 2);
  for (const char c : bytes) {
    out.push_back(kHexDigits[static_cast<uint8_t>(c) >> 4]);
    out.push_back(kHexDigits[static_cast<uint8_t>(c) & 15]);
  }
  return out;
}

std::optional<std::string> FromHex(std::string_view digits) {
  if (digits.size() % 2 != 0) return std::nullopt;
  std::string out;
  for (size_t i = 0; i < digits.size(); i += 2) {
    const int high = HexValue(digits[i]);
    const int low = HexValue(digits[i + 1]);
    if (high < 0 || low < 0) return std::nullopt;
    out.push_back(static_cast<char>(high * 16 + low));
  }
  return out;
}

std::string HexEscape(std::string_view bytes) {
  std::string out;
  for (const char c : bytes) AppendHexEscape(&out, c);
  return out;
}

std::string EscapeText(std::string_view bytes) {
  std::string out;
  for (const char c : bytes) {
    if (c == '\\') {
      out += "\\\\";
    } else if (c == '\n') {
      out += "\\n";
    } else if (c == '\r') {
      out += "\\r";
    } else if (c == '\t') {
      out += "\\t";
    } else if (c >= 0x20 && c < 0x7f) {
      out.push_back(c);
    } else {
      AppendHexEscape(&out, c);
    }
  }
  return out;
}

std::string IdText(uint64_t id) {
  char text[24];
  std::snprintf(text, sizeof(text), "%llx", static_cast<unsigned long long>(id));
  return text;
}

std::string HumanBytes(uint64_t bytes) {
  static constexpr const char* kUnits[] = {"B", "kB", "MB", "GB", "TB", "PB", "EB"};
  if (bytes < 10) return std::to_string(bytes) + " B";
  double scaled = static_cast<double>(bytes);
  size_t unit = 0;
  for (; scaled >= 1000 && unit + 1 < std::size(kUnits); ++unit) scaled /= 1000;
  scaled = std::floor(scaled * 10 + 0.5) / 10;
  char text[32];
  std::snprintf(text, sizeof(text), scaled < 10 ? "%.1f %s" : "%.0f %s", scaled, kUnits[unit]);
  return text;
}

std::optional<uint64_t> ParseDurationMs(const std::string& text) {
  static constexpr std::pair<std::string_view, double> kUnits[] = {
      {"", 1000}, {"ms", 1}, {"s", 1000}, {"m", 60'000}, {"h", 3'600'000}};
  double number = 0;
  const char* last = text.data() + text.size();
  const auto [end, error] = std::from_chars(text.data(), last, number);
  if (error != std::errc()) return std::nullopt;
  for (const auto& [unit, scale] : kUnits) {
    const double ms = number * scale;
    if (std::string_view(end, last) == unit && ms >= 1 && ms <= 1e12) {
      return static_cast<uint64_t>(ms);
    }
  }
  return std::nullopt;
}

}  // namespace raftkv::tools
