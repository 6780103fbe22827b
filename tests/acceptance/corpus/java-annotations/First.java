/** Some things. */
public final class First {
    @Noted int alphaFirst;
    @Noted int betaFirst;
    @Noted int gammaFirst;
    @Noted int deltaFirst;
    @Noted int epsilonFirst;
    @Noted int zetaFirst;
    @Noted int etaFirst;
    @Noted int thetaFirst;
}
