// SPDX-License-Identifier: Apache-2.0
// The models that other tests write for themselves must be models.
#include "engine/model/model.h"
#include "tests/support/test_registry.h"
#include "tests/support/tiny_model.h"

#include <QTest>

#include <cmath>

using namespace kvilt;

class TinyModelTest : public QObject {
    Q_OBJECT
private slots:
    void halvesRoundTrip()
    {
        for (std::uint32_t bits = 0; bits < 0x7c00; ++bits)
            QCOMPARE(test::halfFromFloat(test::floatFromHalf(static_cast<std::uint16_t>(bits))), bits);
        QCOMPARE(test::halfFromFloat(1.0f), std::uint16_t(0x3c00));
        QCOMPARE(test::halfFromFloat(-1.0f - 0x1p-11f), std::uint16_t(0xbc00));     // a tie goes to even
        QCOMPARE(test::halfFromFloat(1.0f + 3 * 0x1p-11f), std::uint16_t(0x3c02));
        QCOMPARE(test::halfFromFloat(0x1p-25f), std::uint16_t(0));
    }
    void loadsInEveryWeightType_data()
    {
        QTest::addColumn<QString>("architecture");
        QTest::addColumn<quint32>("type");
        using enum gguf::TensorType;
        for (const char *architecture : {"llama", "gemma3"})
            for (const auto type : {f32, f16, bf16, q4_0, q4_1, q5_0, q5_1, q8_0, q2_k, q3_k, q4_k, q5_k, q6_k, iq1_s,
                                    iq1_m, iq2_xxs, iq2_xs, iq2_s, iq3_xxs, iq3_s, iq4_nl, iq4_xs, tq1_0, tq2_0, mxfp4})
                QTest::addRow("%s %s", architecture, gguf::toString(type).data())
                    << architecture << static_cast<quint32>(type);
    }
    void loadsInEveryWeightType()
    {
        QFETCH(QString, architecture);
        QFETCH(quint32, type);
        test::TinyModelOptions options;
        options.architecture = architecture.toStdString();
        options.weights = options.embedding = static_cast<gguf::TensorType>(type);
        const auto bytes = test::tinyModelBytes(options);
        const auto file = gguf::GgufFile::parse(bytes, "tiny");
        QVERIFY2(file.has_value(), file ? "" : file.error().message.c_str());
        const auto model = model::Model::load(*file);
        QVERIFY2(model.has_value(), model ? "" : model.error().message.c_str());
        QVERIFY((*model)->headTied());
        QVERIFY((*model)->parameters() > 10000);
        QCOMPARE((*model)->description().window, architecture == "gemma3" ? 32u : 0u);
        QVERIFY(test::tinyModelBytes(options) == bytes); // the same seed, the same bytes
    }
};

KVILT_TEST_CLASS(TinyModelTest)
#include "tst_tiny_model.moc"
