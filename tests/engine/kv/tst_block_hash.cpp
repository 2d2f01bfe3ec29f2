// SPDX-License-Identifier: Apache-2.0
#include "engine/kv/block_hash.h"
#include "tests/support/test_registry.h"

#include <QCryptographicHash>
#include <QTest>

#include <algorithm>

using namespace kvilt;
using namespace kvilt::kv;

namespace {

const CacheIdentity kIdentity{.modelFingerprint = "0123abcd",
                              .tokenizer = "gpt2/smollm",
                              .rope = "base=10000 scale=1",
                              .kvTypes = "k=f16,v=f16",
                              .blockSize = 4};

// The format written down a second time, on another implementation of SHA-256.
struct Reference {
    QByteArray bytes;
    void number(quint64 value) { bytes.append(reinterpret_cast<const char *>(&value), sizeof value); }
    void text(const std::string &value)
    {
        number(value.size());
        bytes.append(value.data(), qsizetype(value.size()));
    }
    std::string hex() const
    {
        return QCryptographicHash::hash(bytes, QCryptographicHash::Sha256).toHex().toStdString();
    }
};

} // namespace

class BlockHashTest : public QObject {
    Q_OBJECT
private slots:
    // Stored KV of every user is found by these bytes. Who changes them raises kHashVersion.
    void goldenNames()
    {
        const BlockName root = rootName(kIdentity, "");
        const BlockName child = childName(root, std::vector<TokenId>{1, 2, 3, 4});
        QCOMPARE(toHex(root), std::string("74677df0dc372c10dc08f1300a4a66ffbdd5c773cc667e1198df550a715fb148"));
        QCOMPARE(toHex(child), std::string("327c5c1edcacc63402d3db1892b4c42c5f7d00fc6f258ab67a591962c947d7c8"));
        QCOMPARE(toHex(childName(child, std::vector<TokenId>{5, 6, 7, 49151})), std::string("58ef2a272651aa4bbbd9e12e7423c03ac0a45217fc914c05b54dcf8b671df12b"));
        QCOMPARE(toHex(rootName(kIdentity, "imported:7")), std::string("73b9a6e63d9a5cf10729706d50e1f6dd271c79fe5ff5d1ff347cd8b5a280148c"));
    }

    void isWhatTheFormatSays()
    {
        Reference root;
        root.text("kvilt root");
        root.number(1);
        root.text(kIdentity.modelFingerprint);
        root.text(kIdentity.tokenizer);
        root.text(kIdentity.rope);
        root.text(kIdentity.kvTypes);
        root.number(4);
        root.text("salt");
        const BlockName name = rootName(kIdentity, "salt");
        QCOMPARE(toHex(name), root.hex());
        Reference child;
        child.bytes.append(reinterpret_cast<const char *>(name.bytes.data()), 32);
        child.number(2);
        const TokenId tokens[] = {-1, 70000};
        child.bytes.append(reinterpret_cast<const char *>(tokens), sizeof tokens);
        QCOMPARE(toHex(childName(name, tokens)), child.hex());
    }

    void everyFieldOfTheIdentityCounts()
    {
        std::vector<BlockName> names{rootName(kIdentity, ""), rootName(kIdentity, "x")};
        const auto with = [&](auto edit) {
            CacheIdentity other = kIdentity;
            edit(other);
            names.push_back(rootName(other, ""));
        };
        with([](CacheIdentity &i) { i.modelFingerprint += "0"; });
        with([](CacheIdentity &i) { i.tokenizer += "0"; });
        with([](CacheIdentity &i) { i.rope += "0"; });
        with([](CacheIdentity &i) { i.kvTypes = "k=q8,v=f16"; });
        with([](CacheIdentity &i) { i.blockSize = 8; });
        with([](CacheIdentity &i) { std::swap(i.tokenizer, i.rope); });
        with([](CacheIdentity &i) { // the border between two fields moves
            i.tokenizer = kIdentity.modelFingerprint + kIdentity.tokenizer;
            i.modelFingerprint.clear();
        });
        std::sort(names.begin(), names.end());
        QVERIFY(std::adjacent_find(names.begin(), names.end()) == names.end());
    }

    void chunksOfOneListAreNotAnotherList()
    {
        const BlockName root = rootName(kIdentity, "");
        QVERIFY(childName(root, std::vector<TokenId>{1, 2}) !=
                childName(childName(root, std::vector<TokenId>{1}), std::vector<TokenId>{2}));
        QVERIFY(childName(root, std::vector<TokenId>{1, 2}) != childName(root, std::vector<TokenId>{2, 1}));
    }
};

KVILT_TEST_CLASS(BlockHashTest)
#include "tst_block_hash.moc"
