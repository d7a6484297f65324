// SPDX-License-Identifier: Apache-2.0
// One unconnected endpoint for all peers; the provider makes what connections it needs.
#include <array>
#include <vector>

#include "copyrpc/fabric/ofi/links.hpp"

namespace copyrpc::ofi {
namespace {

using copykv::Failure;
using copykv::Outcome;

class UnconnectedLinks final : public Links {
 public:
  UnconnectedLinks(Domain& domain, uint32_t peers_max)
      : domain_(domain), addresses_(peers_max, FI_ADDR_UNSPEC), fresh_() {
    fresh_.reserve(peers_max);
  }

  [[nodiscard]] Outcome<void> open();

  [[nodiscard]] const std::string& address() const noexcept override { return address_; }
  [[nodiscard]] Outcome<void> connect(PeerId peer, const EndpointAddress& to) override;
  void disconnect(PeerId peer, bool idle) noexcept override;
  [[nodiscard]] bool disconnect_is_final() const noexcept override { return false; }
  [[nodiscard]] fid_ep* memory_endpoint() const noexcept override { return endpoint_.get(); }
  void progress(LinkEvents& events) noexcept override;
  [[nodiscard]] bool busy() const noexcept override { return !fresh_.empty(); }
  [[nodiscard]] int wait_fd() const noexcept override { return domain_.wait_fd; }
  [[nodiscard]] bool arm(LinkEvents& events) noexcept override;

 private:
  Domain& domain_;
  std::string address_;
  std::vector<fi_addr_t> addresses_;
  std::vector<PeerId> fresh_;  ///< connected since the last progress
  Owned<fid_av> names_;
  Owned<fid_ep> endpoint_;
};

Outcome<void> UnconnectedLinks::open() {
  fi_av_attr attributes{};
  attributes.type = FI_AV_UNSPEC;
  attributes.count = addresses_.size();
  fid_av* names = nullptr;
  if (const int error = fi_av_open(domain_.domain.get(), &attributes, &names, nullptr); error != 0)
    return failure(domain_, "fi_av_open", error);
  names_.reset(names);
  auto endpoint = open_endpoint(domain_, domain_.info.get(), nullptr);
  if (!endpoint) return Failure{endpoint.error};
  endpoint_ = std::move(*endpoint);
  int error = fi_ep_bind(endpoint_.get(), &names->fid, 0);
  if (error == 0) error = fi_enable(endpoint_.get());
  if (error != 0) return failure(domain_, "fi_enable", error);

  std::array<char, 256> raw;
  size_t bytes = raw.size();
  error = fi_getname(&endpoint_->fid, raw.data(), &bytes);
  if (error != 0) return failure(domain_, "fi_getname", error);
  auto address = encode_address({false, random_identity(), std::string(raw.data(), bytes)});
  if (!address) return Failure{address.error};
  address_ = *address;
  return {};
}

Outcome<void> UnconnectedLinks::connect(PeerId peer, const EndpointAddress& to) {
  fi_addr_t address = FI_ADDR_UNSPEC;
  const int inserted = fi_av_insert(names_.get(), to.raw.data(), 1, &address, 0, nullptr);
  if (inserted != 1) return failure(domain_, "fi_av_insert", inserted < 0 ? inserted : FI_EINVAL);
  addresses_[peer] = address;
  fresh_.push_back(peer);
  return {};
}

void UnconnectedLinks::disconnect(PeerId peer, bool idle) noexcept {
  std::erase(fresh_, peer);
  // The shm provider looks into the memory of whoever answers a post, in the list of names or not:
  // a name that something in flight refers to stays there for good.
  if (idle) (void)fi_av_remove(names_.get(), &addresses_[peer], 1, 0);
  addresses_[peer] = FI_ADDR_UNSPEC;
}

void UnconnectedLinks::progress(LinkEvents& events) noexcept {
  for (const PeerId peer : fresh_) events.link_up(peer, {endpoint_.get(), addresses_[peer]});
  fresh_.clear();
}

bool UnconnectedLinks::arm(LinkEvents&) noexcept {
  fid* queue = &domain_.completions->fid;
  return fi_trywait(domain_.fabric.get(), &queue, 1) == FI_SUCCESS;
}

}  // namespace

Outcome<std::unique_ptr<Links>> make_unconnected_links(Domain& domain, uint32_t peers_max) {
  auto links = std::make_unique<UnconnectedLinks>(domain, peers_max);
  if (auto opened = links->open(); !opened) return Failure{opened.error};
  return std::unique_ptr<Links>(std::move(links));
}

}  // namespace copyrpc::ofi
