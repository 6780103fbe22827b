/** Some things. */
public final class Second {
    @Noted int alphaSecond;
    @Noted int betaSecond;
    @Noted int gammaSecond;
    @Noted int deltaSecond;
    @Noted int epsilonSecond;
    @Noted int zetaSecond;
    @Noted int etaSecond;
    @Noted int thetaSecond;
}
